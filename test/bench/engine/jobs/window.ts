import { setTimeout as sleep } from 'node:timers/promises';
import type { Streams } from './streams.ts';

/** Least tokens of each stream for a figure, and the most, so that fast models stay within their context. */
const [least, most] = [8, 256];

/** Resolves after so many ms, or sooner when every stream has given plenty of tokens; never before it gave a few. */
export async function windowOver(streams: Streams, milliseconds: number): Promise<void> {
  const timer = new AbortController();
  const few = Promise.all([sleep(milliseconds, null, { signal: timer.signal }), streams.more(least)]);
  await Promise.race([few, streams.more(most)]);
  timer.abort();
  await few.catch(() => {});
}
