import { setTimeout as sleep } from 'node:timers/promises';
import { type BatonError, ServerError } from '@baton/errors';
import type { Runner, StateStep } from '../batch/runner.ts';
import type { EngineModel, EngineRequest } from '../engine.ts';
import { checkSessionState, type SessionState, type StateDelta, tokensOf } from '../state/session-state.ts';
import { checkScriptedState, scriptedLayout, scriptedState } from './scripted-state.ts';

/** What the model says in one sequence. */
export interface Script {
  /** The output tokens to make likely; after the last one they begin anew. */
  readonly tokens: readonly number[];
  /** Called before the model samples the output token at `position`; may throw. */
  readonly beforeToken?: (position: number) => void;
}

export interface ScriptedRunnerOptions {
  readonly model: EngineModel;
  readonly slots: number;
  readonly scriptOf: (request: EngineRequest) => Script;
  /** Milliseconds a step takes. */
  readonly stepMs?: number;
  /** Bytes a token's state is said to take. */
  readonly tokenBytes?: number;
}

export interface ScriptedState {
  readonly script: Script;
  readonly promptLength: number;
  readonly fed: number[];
}

/**
 * A model that knows what it is going to say: the script's next token has the highest logit by far. All others get
 * small, fixed ones, so that log-probabilities and alternatives are the same each time.
 */
export class ScriptedRunner implements Runner<ScriptedState> {
  readonly model: EngineModel;
  readonly slots: number;
  readonly layout = scriptedLayout;
  readonly #options: ScriptedRunnerOptions;
  readonly #states = new Set<ScriptedState>();
  /** What each step fed: for each sequence, how many tokens. */
  readonly steps: number[][] = [];

  constructor(options: ScriptedRunnerOptions) {
    this.model = options.model;
    this.slots = options.slots;
    this.#options = options;
  }

  /** Sequences that hold a slot now. */
  get used(): number {
    return this.#states.size;
  }

  slotBytes(tokens: number): number {
    return tokens * (this.#options.tokenBytes ?? 1);
  }

  newState(request: EngineRequest): ScriptedState {
    return this.#add(request, []);
  }

  importState(state: SessionState, request: EngineRequest): ScriptedState {
    const tokens = [...request.prompt, ...request.replay];
    checkSessionState(state, this.layout, this.model);
    checkScriptedState(state, tokens);
    return this.#add(request, tokens.slice(0, tokensOf(state)));
  }

  async exportState({ fed }: ScriptedState, from: number): Promise<StateDelta> {
    return scriptedState(fed, from, this.model.fingerprint);
  }

  #add(request: EngineRequest, fed: number[]): ScriptedState {
    if (this.#states.size === this.slots) throw new RangeError(`all ${this.slots} slots are in use`);
    const script = this.#options.scriptOf(request);
    const state = { script, promptLength: request.prompt.length, fed };
    this.#states.add(state);
    return state;
  }

  freeState(state: ScriptedState): void {
    if (!this.#states.delete(state)) throw new RangeError('the slot is not in use');
  }

  async runBatch(steps: readonly StateStep<ScriptedState>[]): Promise<(Float32Array | BatonError)[]> {
    this.steps.push(steps.map(({ ids }) => ids.length));
    if (this.#options.stepMs) await sleep(this.#options.stepMs);
    return steps.map((step) => {
      try {
        return this.#logits(step);
      } catch (error) {
        return error instanceof ServerError ? error : new ServerError(String(error), { cause: error });
      }
    });
  }

  #logits({ state, ids, rows }: StateStep<ScriptedState>): Float32Array {
    const { script, fed, promptLength } = state;
    const from = fed.length;
    fed.push(...ids);
    const size = this.model.vocabularySize;
    const logits = new Float32Array(rows.length * size);
    for (const [index, row] of rows.entries()) {
      const position = from + row + 1 - promptLength;
      const previous = fed[from + row] ?? 0;
      const rowLogits = logits.subarray(index * size, (index + 1) * size);
      for (let id = 0; id < size; id++) rowLogits[id] = ((id * 31 + previous * 17) % 101) / 50;
      if (position < 0) continue;
      script.beforeToken?.(position);
      const scripted = script.tokens[position % script.tokens.length];
      if (scripted !== undefined) rowLogits[scripted] = 20;
    }
    return logits;
  }
}
