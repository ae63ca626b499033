import type { BatchSettings } from './settings.ts';

/** A sequence without a slot; earlier arrivals have lower numbers. */
export interface Waiting {
  readonly tenant: string;
  readonly arrival: number;
  /** Tokens that it holds at its end, at most. */
  readonly tokensAtEnd: number;
}

export interface Running extends Waiting {
  /** Tokens that the model has not been fed: one while it decodes, more while it prefills. */
  readonly pending: number;
}

export interface Share<Entry> {
  readonly entry: Entry;
  /** How many of its pending tokens to feed. */
  readonly tokens: number;
}

export interface Plan<Entry> {
  readonly decoding: readonly Share<Entry>[];
  readonly prefilling: readonly Share<Entry>[];
}

/**
 * Whose turn it is to get a slot: of the tenants with the fewest running sequences, the one that waits longest. Null where
 * none waits, or where it has to wait on: for a slot, or for the memory that it may come to need (nobody overtakes it then,
 * and nobody is ever sent away once admitted).
 */
export function nextToAdmit<Entry extends Waiting>(
  waiting: readonly Entry[],
  running: readonly Waiting[],
  { slots, stateMemory }: BatchSettings,
  slotBytes: (tokens: number) => number,
): Entry | null {
  if (running.length >= slots) return null;
  const runningOf = (tenant: string) => running.filter((entry) => entry.tenant === tenant).length;
  const next = first(waiting, (entry) => [runningOf(entry.tenant), entry.arrival]);
  if (next === null) return null;
  const longest = Math.max(next.tokensAtEnd, ...running.map(({ tokensAtEnd }) => tokensAtEnd));
  return (running.length + 1) * slotBytes(longest) <= stateMemory ? next : null;
}

/**
 * What to run in a step: the next token of every sequence that decodes, and one chunk of one that prefills, of the tenant
 * whose last chunk is the longest ago: `lastChunkOf` gives its step. Beside streams a chunk has `besideStreams` tokens at
 * most.
 */
export function schedule<Entry extends Running>(
  running: readonly Entry[],
  { prefillChunk, stepTokens }: BatchSettings,
  besideStreams: number,
  lastChunkOf: (tenant: string) => number,
): Plan<Entry> {
  const decoding = running.filter(({ pending }) => pending === 1).map((entry) => ({ entry, tokens: 1 }));
  const waiting = running.filter(({ pending }) => pending > 1);
  const next = first(waiting, (entry) => [lastChunkOf(entry.tenant), entry.arrival]);
  if (next === null) return { decoding, prefilling: [] };
  const most = decoding.length === 0 ? prefillChunk : Math.min(besideStreams, stepTokens - decoding.length);
  const tokens = Math.min(next.pending, Math.max(most, 1));
  return { decoding, prefilling: [{ entry: next, tokens }] };
}

/** The entry with the lowest pair of numbers. */
function first<Entry>(
  entries: readonly Entry[],
  rankOf: (entry: Entry) => readonly [number, number],
): Entry | null {
  let best: Entry | null = null;
  let lowest: readonly [number, number] = [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY];
  for (const entry of entries) {
    const rank = rankOf(entry);
    if (rank[0] < lowest[0] || (rank[0] === lowest[0] && rank[1] < lowest[1])) [best, lowest] = [entry, rank];
  }
  return best;
}
