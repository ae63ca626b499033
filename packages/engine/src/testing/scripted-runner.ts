import { setTimeout as sleep } from 'node:timers/promises';
import type { EngineModel } from '../engine.ts';
import type { Runner, Step } from '../runner.ts';

export interface Script {
  readonly model: EngineModel;
  /** Where the prompt ends. */
  readonly promptLength: number;
  /** The output tokens to make likely; after the last one they begin anew. */
  readonly tokens: readonly number[];
  readonly stepMs: number;
  /** Called before the model samples the output token at `position`; may throw. */
  readonly beforeToken: (position: number) => void;
}

/**
 * A model that knows what it is going to say: the script's next token has the highest logit by far. All others get
 * small, fixed ones, so that log-probabilities and alternatives are the same each time.
 */
export class ScriptedRunner implements Runner<{ fed: number[] }> {
  readonly model: EngineModel;
  readonly #script: Script;
  /** Steps run so far. */
  steps = 0;

  constructor(script: Script) {
    this.model = script.model;
    this.#script = script;
  }

  newState(): { fed: number[] } {
    return { fed: [] };
  }

  async run(state: { fed: number[] }, { ids, rows }: Step): Promise<Float32Array> {
    const { promptLength, tokens, stepMs, beforeToken } = this.#script;
    this.steps++;
    if (stepMs > 0) await sleep(stepMs);
    const from = state.fed.length;
    state.fed.push(...ids);
    const size = this.model.vocabularySize;
    const logits = new Float32Array(rows.length * size);
    for (const [index, row] of rows.entries()) {
      const position = from + row + 1 - promptLength;
      const previous = state.fed[from + row] ?? 0;
      const rowLogits = logits.subarray(index * size, (index + 1) * size);
      for (let id = 0; id < size; id++) rowLogits[id] = ((id * 31 + previous * 17) % 101) / 50;
      if (position < 0) continue;
      beforeToken(position);
      const scripted = tokens[position % tokens.length];
      if (scripted !== undefined) rowLogits[scripted] = 20;
    }
    return logits;
  }
}
