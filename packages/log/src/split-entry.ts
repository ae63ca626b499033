import type { WorkerEntry } from '@baton/protocol';

/** Version, epoch and sequence number, which the log adds to what a worker appends. */
const envelopeBytes = 128;

/**
 * The next entry with `more` behind it, where one entry can say both; null where it cannot: entries of different
 * kinds, or with and without log-probabilities.
 */
export function mergeEntries(entry: WorkerEntry, more: WorkerEntry): WorkerEntry | null {
  if (entry.kind === 'tokens' && more.kind === 'tokens') {
    const both = entry.tokens.length > 0 && more.tokens.length > 0;
    if (both && (entry.logprobs === undefined) !== (more.logprobs === undefined)) return null;
    const logprobs = [...(entry.logprobs ?? []), ...(more.logprobs ?? [])];
    return {
      kind: 'tokens',
      tokens: [...entry.tokens, ...more.tokens],
      text: entry.text + more.text,
      ...(logprobs.length > 0 && { logprobs }),
    };
  }
  if (entry.kind === 'prompt' && more.kind === 'prompt') {
    return { kind: 'prompt', from: entry.from, logprobs: [...entry.logprobs, ...more.logprobs] };
  }
  return null;
}

/** Cuts `entry` into entries that say the same in order and take at most `maxBytes` each, where it can be cut. */
export function splitEntry(entry: WorkerEntry, maxBytes: number): WorkerEntry[] {
  if (Buffer.byteLength(JSON.stringify(entry)) + envelopeBytes <= maxBytes) return [entry];
  const halves = halve(entry);
  return halves === null ? [entry] : halves.flatMap((half) => splitEntry(half, maxBytes));
}

function halve(entry: WorkerEntry): [WorkerEntry, WorkerEntry] | null {
  if (entry.kind === 'prompt' && entry.logprobs.length > 1) {
    const middle = entry.logprobs.length >> 1;
    return [
      { ...entry, logprobs: entry.logprobs.slice(0, middle) },
      { ...entry, from: entry.from + middle, logprobs: entry.logprobs.slice(middle) },
    ];
  }
  if (entry.kind === 'tokens' && entry.tokens.length > 1) {
    const { tokens, text, logprobs } = entry;
    const middle = tokens.length >> 1;
    // The text became certain with the last token, so it travels with the second half.
    return [
      { kind: 'tokens', tokens: tokens.slice(0, middle), text: '', ...cut(logprobs, 0, middle) },
      { kind: 'tokens', tokens: tokens.slice(middle), text, ...cut(logprobs, middle) },
    ];
  }
  if (entry.kind === 'tokens' && entry.text.length > 1) {
    const characters = Array.from(entry.text);
    const middle = characters.length >> 1;
    if (middle === 0) return null;
    return [
      { ...entry, text: characters.slice(0, middle).join('') },
      { kind: 'tokens', tokens: [], text: characters.slice(middle).join('') },
    ];
  }
  return null;
}

function cut<T>(logprobs: T[] | undefined, start: number, end?: number): { logprobs?: T[] } {
  return logprobs === undefined ? {} : { logprobs: logprobs.slice(start, end) };
}
