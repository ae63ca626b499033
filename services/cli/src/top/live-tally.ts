import { gatewayOwner, isSameProcess, type LogEntry, type LogEntryOf } from '@baton/protocol';

/** Seconds over which a rate is taken, and for which rates are kept. */
const windowSeconds = 3;
export const historySeconds = 60;

interface Followed {
  epoch: number;
  /** Null once its owner has stopped for another one to go on. */
  owner: string | null;
  /** The last one seen. */
  claim: LogEntryOf<'claimed'> | null;
  /** Output tokens seen, and how many of them in which second. */
  tokens: number;
  readonly perSecond: Map<number, number>;
}

/** A generation that runs, as far as its entries were seen. */
export interface Seen {
  readonly epoch: number;
  readonly tokens: number;
  /** Output tokens a second. */
  readonly rate: number;
}

/** Counts what the token logs say while it looks on. Times are seconds since whenever. */
export class LiveTally {
  failovers = 0;
  migrations = 0;
  readonly ended = new Map<string, number>();
  readonly #running = new Map<string, Followed>();
  readonly #perSecond = new Map<number, number>();

  /** Takes an entry of a generation's log as it was stored. */
  take(generation: string, entry: LogEntry, now: number): void {
    const second = Math.floor(now);
    switch (entry.kind) {
      case 'claimed': {
        const { epoch, worker } = entry;
        if (worker === gatewayOwner) return;
        const followed = this.#follow(generation);
        // The first thing seen of it may be a later claim: who ran it before is then not known.
        // A process that claims again has only come to it anew.
        if (epoch > 1 && followed.epoch > 0 && !isSameProcess(followed.claim, entry)) {
          if (followed.owner === null) this.migrations++;
          else this.failovers++;
        }
        Object.assign(followed, { epoch, owner: worker, claim: entry });
        return;
      }
      case 'released':
        Object.assign(this.#follow(generation), { owner: null });
        return;
      case 'tokens': {
        const followed = this.#follow(generation);
        const { length } = entry.tokens;
        if (followed.epoch === 0) Object.assign(followed, { epoch: entry.epoch, owner: 'unseen' });
        followed.tokens += length;
        for (const counts of [followed.perSecond, this.#perSecond]) {
          counts.set(second, (counts.get(second) ?? 0) + length);
          counts.delete(second - historySeconds - 1);
        }
        return;
      }
      case 'finish':
      case 'error': {
        const how = entry.kind === 'finish' ? entry.reason : entry.code;
        this.ended.set(how, (this.ended.get(how) ?? 0) + 1);
        this.#running.delete(generation);
      }
    }
  }

  seen(generation: string, now: number): Seen | null {
    const followed = this.#running.get(generation);
    if (!followed) return null;
    return { epoch: followed.epoch, tokens: followed.tokens, rate: rateOf(followed.perSecond, now) };
  }

  /** Output tokens a second, of all generations. */
  rate(now: number): number {
    return rateOf(this.#perSecond, now);
  }

  /** Output tokens of each of the last seconds, the oldest first; the one that runs is left out. */
  history(now: number): number[] {
    const second = Math.floor(now);
    return Array.from(
      { length: historySeconds },
      (_, i) => this.#perSecond.get(second - historySeconds + i) ?? 0,
    );
  }

  #follow(generation: string): Followed {
    const found = this.#running.get(generation);
    if (found) return found;
    const followed: Followed = { epoch: 0, owner: null, claim: null, tokens: 0, perSecond: new Map() };
    this.#running.set(generation, followed);
    return followed;
  }
}

/** Over whole seconds, so that it does not swing with the one that has only begun. */
function rateOf(perSecond: ReadonlyMap<number, number>, now: number): number {
  const second = Math.floor(now);
  let sum = 0;
  for (let back = 1; back <= windowSeconds; back++) sum += perSecond.get(second - back) ?? 0;
  return sum / windowSeconds;
}
