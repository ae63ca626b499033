import { createEngine, type Engine, type SessionState } from '@baton/engine';
import type { Sampling } from '@baton/protocol';
import type { Choice, Effort } from './messages.ts';

export function openEngine(folder: string, { threads }: Effort, slots: number): Promise<Engine> {
  return createEngine({ modelDir: folder, threads, slots });
}

/** A prompt of ordinary tokens, another one for each index. */
export function promptOf({ model }: Engine, length: number, index: number): number[] {
  const first = 300;
  return Array.from({ length }, (_, i) => first + ((i * 31 + index * 7) % (model.vocabularySize - first)));
}

const choices: Readonly<Record<Choice, Pick<Sampling, 'temperature' | 'top_p'>>> = {
  greedy: { temperature: 0, top_p: 1 },
  'top-p 0.9': { temperature: 1, top_p: 0.9 },
};

const otherwise: Omit<Sampling, 'max_tokens' | 'temperature' | 'top_p'> = {
  top_k: 0,
  min_p: 0,
  presence_penalty: 0,
  frequency_penalty: 0,
  repetition_penalty: 1,
  logit_bias: {},
  seed: 0,
  min_tokens: 0,
  stop: [],
  ignore_eos: true,
  grammar: null,
  logprobs: null,
  prompt_logprobs: null,
};

let sequences = 0;

/** The tokens of one generation, as they come, until the context is full; one that goes on from `resume`, if given. */
export async function* streamOf(
  engine: Engine,
  prompt: readonly number[],
  choice: Choice = 'greedy',
  resume?: SessionState,
): AsyncGenerator<number> {
  const abort = new AbortController();
  const request = {
    id: `bench-${sequences++}`,
    prompt,
    ...(resume && { resume }),
    tenant: 'bench',
    replay: [],
    replayTextLength: 0,
    promptLogprobsFrom: 0,
    sampling: { ...otherwise, ...choices[choice], max_tokens: engine.model.contextLength - prompt.length },
  };
  try {
    for await (const output of engine.generate(request, abort.signal)) {
      if (output.kind === 'tokens') yield* output.tokens;
    }
  } finally {
    abort.abort();
  }
}
