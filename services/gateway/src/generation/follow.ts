import type { LogEntry, LogState } from '@baton/protocol';
import { GenerationError } from '../errors.ts';
import type { Gateway } from '../gateway.ts';
import { reconcile } from './reconcile.ts';
import type { Generation } from './submit.ts';

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
  try {
    for await (const entry of feed.entries({ signal })) {
      progressed = true;
      times?.take(entry);
      yield entry;
    }
  } finally {
    clearInterval(watch);
  }
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
