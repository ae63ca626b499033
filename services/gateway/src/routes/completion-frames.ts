import type { LogEntry } from '@baton/protocol';
import { asBatonError, errorBody, GenerationError, noteFailedStream } from '../errors.ts';
import type { Gateway } from '../gateway.ts';
import { follow } from '../generation/follow.ts';
import { merge } from '../generation/merge.ts';
import type { Generation } from '../generation/submit.ts';
import { sseFrame } from '../sse.ts';

/**
 * The stream of a chat or text completion: every choice's chunks as they come, the chunk with the usage where there is
 * one, `[DONE]`. A failure is an event of its own, after which the stream ends without `[DONE]`.
 */
export async function* completionFrames<Chunk>(
  gateway: Gateway,
  generations: readonly Generation[],
  folds: readonly ((entry: LogEntry) => Chunk[])[],
  usage: (() => Chunk) | null,
  signal: AbortSignal,
): AsyncGenerator<string, void> {
  try {
    const logs = generations.map((generation) => follow(gateway, generation, signal));
    for await (const { index, item } of merge(logs)) {
      if (item.kind === 'error') throw new GenerationError(item);
      for (const chunk of folds[index]?.(item) ?? []) yield sseFrame(chunk);
    }
    if (usage) yield sseFrame(usage());
    yield 'data: [DONE]\n\n';
  } catch (thrown) {
    if (signal.aborted) throw thrown;
    const error = asBatonError(thrown);
    const ids = generations.map(({ job }) => job.id);
    noteFailedStream(error, ids, gateway.logger);
    yield sseFrame(errorBody(error));
  }
}
