import { BatonError, FencedError, LogCorruptedError, ServerError } from '@baton/errors';
import type { LogEntry, LogState, WorkerEntry } from '@baton/protocol';
import { count } from '@baton/telemetry';
import type { LogStore, StoredEntry, Top } from './log-store.ts';
import { mergeEntries, splitEntry } from './split-entry.ts';

/**
 * The owner's end of one generation's log, made by `TokenLog.claim`. Entries are stored in the order they are pushed,
 * one publish in flight; what is pushed meanwhile travels together in the next entry.
 *
 * Ends for good at the first failure: `FencedError` once another worker has claimed, `NotFoundError` once the log is gone,
 * `DependencyError` once NATS stayed away past the deadline. From then on `push`, `flush` and `append` throw that error.
 */
export class LogWriter {
  readonly generationId: string;
  readonly epoch: number;
  /** Aborted when somebody asked for the generation to stop; appending still works, and should end in `finish`. */
  readonly cancelled: AbortSignal;
  /** Aborted when this writer has failed, with the error as its reason. */
  readonly lost: AbortSignal;

  readonly #store: LogStore;
  readonly #cancel = new AbortController();
  readonly #lose = new AbortController();
  #top: Top;
  #nextSequenceNumber: number;
  #pending: WorkerEntry[] = [];
  #checkWanted = false;
  #running: Promise<void> | null = null;
  #failure: BatonError | null = null;
  #ended = false;

  /** `state` is the log up to and with the owner's claim, which lies at `top`. */
  constructor(store: LogStore, state: LogState, top: Top) {
    this.generationId = state.generationId;
    this.epoch = state.epoch;
    this.cancelled = this.#cancel.signal;
    this.lost = this.#lose.signal;
    this.#store = store;
    this.#top = top;
    this.#nextSequenceNumber = state.nextSequenceNumber;
    if (state.cancelRequested) this.#cancel.abort();
  }

  /**
   * Takes `entry` to be stored as soon as possible and returns at once. Nothing may follow a terminal entry, or `released`. Throws
   * what this writer failed with.
   */
  push(entry: WorkerEntry): void {
    this.#throwFailure();
    if (this.#ended) {
      throw new LogCorruptedError(this.generationId, `${entry.kind} entry pushed after the last one`);
    }
    if (entry.kind === 'tokens' && entry.tokens.length === 0 && entry.text === '') return;
    this.#ended = entry.kind === 'finish' || entry.kind === 'error' || entry.kind === 'released';

    const last = this.#pending.at(-1);
    const merged = last === undefined ? null : mergeEntries(last, entry);
    if (merged === null) this.#pending.push(entry);
    else this.#pending[this.#pending.length - 1] = merged;
    this.#start();
  }

  /** Resolves once everything pushed so far is stored; throws what this writer failed with. */
  async flush(): Promise<void> {
    await this.#running;
    this.#throwFailure();
  }

  /** `push`, then `flush`. */
  async append(entry: WorkerEntry): Promise<void> {
    this.push(entry);
    await this.flush();
  }

  /**
   * Looks into the log for a cancel or a new owner, for stretches without appends such as a long prefill. Throws what
   * this writer failed with.
   */
  async check(): Promise<void> {
    this.#throwFailure();
    this.#checkWanted = true;
    this.#start();
    await this.flush();
  }

  #throwFailure(): void {
    if (this.#failure !== null) throw this.#failure;
  }

  #start(): void {
    this.#running ??= this.#drain();
  }

  /** Stores what is pending, one entry after the other. Never rejects: a failure is kept for whoever calls next. */
  async #drain(): Promise<void> {
    try {
      for (;;) {
        const entry = this.#pending.shift();
        if (entry !== undefined) {
          for (const part of splitEntry(entry, this.#store.maxEntryBytes)) await this.#append(part);
          this.#checkWanted = false;
        } else if (this.#checkWanted) {
          this.#checkWanted = false;
          for await (const met of this.#store.entriesAfter(this.generationId, this.#top)) this.#meet(met);
        } else {
          return;
        }
      }
    } catch (error) {
      this.#pending = [];
      this.#failure =
        error instanceof BatonError
          ? error
          : new ServerError(`log of ${this.generationId}: ${String(error)}`);
      this.#lose.abort(this.#failure);
    } finally {
      this.#running = null;
    }
  }

  async #append(part: WorkerEntry): Promise<void> {
    const internal = part.kind === 'restored' || part.kind === 'released';
    const entry: LogEntry = internal
      ? { v: 1, ...part, epoch: this.epoch }
      : { v: 1, ...part, epoch: this.epoch, sequence_number: this.#nextSequenceNumber };
    for (;;) {
      const result = await this.#store.append(this.generationId, entry, this.#top);
      if ('stored' in result) {
        this.#top = result.stored;
        if (!internal) this.#nextSequenceNumber++;
        return;
      }
      for (const met of result.conflict) this.#meet(met);
    }
  }

  /** Takes note of an entry that somebody else put on top. */
  #meet(met: StoredEntry): void {
    const { entry } = met;
    // A claim, or the end that was all that was left of a deleted log.
    if ('epoch' in entry && entry.epoch > this.epoch) {
      count('fencedAppends');
      throw new FencedError(this.generationId, this.epoch);
    }
    if (entry.kind !== 'cancel_requested') {
      throw new LogCorruptedError(this.generationId, `${entry.kind} entry of nobody who claimed it`);
    }
    this.#top = met;
    this.#cancel.abort();
  }
}
