import {
  type GenerationJob,
  isSameProcess,
  type LogEntry,
  type LogEntryOf,
  type TerminalEntry,
} from '@baton/protocol';

/** One owner's part of a generation. Times are milliseconds since the generation's first entry. */
export interface Attempt {
  readonly epoch: number;
  readonly worker: string;
  readonly claimedAt: number;
  /** Output tokens that the log held when it claimed. */
  readonly tokensBefore: number;
  firstTokenAt: number | null;
  lastTokenAt: number | null;
  tokens: number;
  entries: number;
  /** How it ended, and when that was known; `resumed`: the same process has claimed again. */
  end: { readonly how: 'lost' | 'handed over' | 'resumed' | 'finished'; readonly at: number } | null;
}

export interface Timeline {
  readonly job: GenerationJob;
  /** Milliseconds since the Unix epoch. */
  readonly start: number;
  readonly attempts: readonly Attempt[];
  readonly cancelledAt: number | null;
  readonly terminal: { readonly entry: TerminalEntry; readonly at: number } | null;
  /** Until the last entry. */
  readonly duration: number;
}

/** What a generation's log says, owner by owner; null for a log without a beginning. */
export function timelineOf(
  history: readonly { readonly entry: LogEntry; readonly at: number }[],
): Timeline | null {
  const [first] = history;
  if (first?.entry.kind !== 'queued') return null;
  const attempts: Attempt[] = [];
  let [tokens, cancelledAt]: [number, number | null] = [0, null];
  let claim: LogEntryOf<'claimed'> | null = null;
  let terminal: Timeline['terminal'] = null;
  let duration = 0;
  for (const { entry, at: storedAt } of history) {
    const at = storedAt - first.at;
    duration = at;
    const owner = attempts.at(-1);
    switch (entry.kind) {
      case 'claimed':
        if (owner) owner.end ??= { how: isSameProcess(claim, entry) ? 'resumed' : 'lost', at };
        claim = entry;
        attempts.push({
          epoch: entry.epoch,
          worker: entry.worker,
          claimedAt: at,
          tokensBefore: tokens,
          firstTokenAt: null,
          lastTokenAt: null,
          tokens: 0,
          entries: 0,
          end: null,
        });
        break;
      case 'tokens':
        tokens += entry.tokens.length;
        if (!owner) break;
        owner.entries++;
        owner.tokens += entry.tokens.length;
        owner.firstTokenAt ??= at;
        owner.lastTokenAt = at;
        break;
      case 'released':
        if (owner) owner.end = { how: 'handed over', at };
        break;
      case 'cancel_requested':
        cancelledAt ??= at;
        break;
      case 'finish':
      case 'error':
        if (owner) owner.end = { how: 'finished', at };
        terminal = { entry, at };
    }
  }
  return { job: first.entry.job, start: first.at, attempts, cancelledAt, terminal, duration };
}
