import { setImmediate as nextTurn } from 'node:timers/promises';
import type { EngineOutput, EngineRequest } from './engine.ts';
import type { Runner } from './runner.ts';
import { Sequence, type Vocabulary } from './sequence.ts';

export interface GenerateOptions<State> {
  readonly runner: Runner<State>;
  readonly vocabulary: Vocabulary;
  /** Most tokens that one prefill step feeds, and so the longest that an abort waits; 64 already prefill at full speed. */
  readonly chunkSize?: number;
}

/**
 * Runs one sequence to its end: schedule, run, postprocess. Aborting `signal` ends it, without `finish`, before its next
 * step. Throws `RequestError` for a request that the model cannot take and `ServerError` where the model fails.
 */
export async function* generateSequence<State>(
  request: EngineRequest,
  { runner, vocabulary, chunkSize = 64 }: GenerateOptions<State>,
  signal: AbortSignal,
): AsyncGenerator<EngineOutput, void, undefined> {
  const sequence = new Sequence(request, { model: runner.model, vocabulary, chunkSize });
  const state = runner.newState();
  while (sequence.needsStep) {
    // A turn of the event loop, so that an abort that was sent is seen.
    await nextTurn();
    if (signal.aborted) return;
    const step = sequence.schedule();
    const logits = await runner.run(state, step);
    if (signal.aborted) return;
    yield* sequence.postprocess(step, logits);
  }
  if (sequence.endOfReplay) yield sequence.endOfReplay;
}
