import { QueueTimeoutError } from '@baton/errors';
import { type GenerationJob, isTerminal, type LogEntry, type LogState } from '@baton/protocol';
import { attributes, requestSpan } from '@baton/telemetry';
import { GenerationError } from '../errors.ts';
import type { Gateway } from '../gateway.ts';
import { recordEnd } from '../record.ts';
import { reconcile } from './reconcile.ts';
import { capturedMessages, type Generation } from './submit.ts';

/**
 * Every entry of a generation's log, in order, up to the terminal one. While it waits it sees to it that the end will
 * come: see `reconcile`. Throws the reason of `signal`, and what the log throws.
 */
export async function* follow(
  gateway: Gateway,
  { job, feed, times }: Generation,
  signal: AbortSignal,
): AsyncGenerator<LogEntry, void> {
  let progressed = true;
  const watch = setInterval(() => {
    if (!progressed) void reconcile(gateway, job.id).then((ended) => ended && clearInterval(watch));
    progressed = false;
  }, gateway.settings.stalledAfterMs);
  const deadline = job.start_by === undefined ? undefined : setTimeout(giveUp, job.start_by - Date.now());
  function giveUp(): void {
    if (feed.state.epoch > 0) return;
    endUnstarted(gateway, job).catch((error: unknown) => {
      gateway.logger.warn({ err: error, generation: job.id }, 'cannot end a generation that waited too long');
    });
  }
  try {
    for await (const entry of feed.entries({ signal })) {
      progressed = true;
      times?.take(entry);
      if (times && gateway.settings.captureContent && isTerminal(entry)) {
        const said = capturedMessages('assistant', feed.state.text);
        requestSpan()?.setAttribute(attributes.outputMessages, said);
      }
      yield entry;
    }
  } finally {
    clearInterval(watch);
    clearTimeout(deadline);
  }
}

/** Nobody waits for it any more, and no worker has begun it. */
async function endUnstarted({ log, queue }: Gateway, job: GenerationJob): Promise<void> {
  const error = new QueueTimeoutError();
  if (!(await log.failUnclaimed(job.id, error))) return;
  recordEnd(error.code);
  await queue.remove(job);
}

/** Follows a generation to its end and gives what its log says. Throws `GenerationError` where it failed. */
export async function finish(
  gateway: Gateway,
  generation: Generation,
  signal: AbortSignal,
): Promise<Readonly<LogState>> {
  for await (const entry of follow(gateway, generation, signal)) {
    if (entry.kind === 'error') throw new GenerationError(entry);
  }
  return generation.feed.state;
}
