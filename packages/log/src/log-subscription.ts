import type { LogEntry, LogState } from '@baton/protocol';
import type { LiveFeed } from './live-feed.ts';
import type { LogCursor } from './log-cursor.ts';
import type { LogStore } from './log-store.ts';

/**
 * Follows one generation's log, made by `TokenLog.subscribe`. It serves one reader: iterate `entries` once.
 */
export class LogSubscription {
  readonly #cursor: LogCursor;
  readonly #feed: LiveFeed;
  readonly #store: LogStore;
  readonly #closed = new AbortController();

  /** `absent` is called once when the subscription is closed. */
  constructor(cursor: LogCursor, feed: LiveFeed, store: LogStore, absent: () => void) {
    this.#cursor = cursor;
    this.#feed = feed;
    this.#store = store;
    this.#closed.signal.addEventListener('abort', absent);
  }

  /** The fold of every entry that `entries` has given so far. */
  get state(): Readonly<LogState> {
    return this.#cursor.state;
  }

  /**
   * Every stored entry from the first, in order, without gap or repetition, as it comes; ends after the terminal one,
   * and when the subscription is closed. A slow reader is served from the stream, so memory stays bounded. Throws the
   * reason of `signal` once it is aborted, `NotFoundError` where the log has expired, `LogCorruptedError` or
   * `MessageError` where it is damaged, `DependencyError` where NATS stays away.
   */
  async *entries({ signal }: { signal?: AbortSignal } = {}): AsyncGenerator<LogEntry, void> {
    const stop = signal === undefined ? this.#closed.signal : AbortSignal.any([signal, this.#closed.signal]);
    // Wakes the wait for a live entry.
    stop.addEventListener('abort', () => this.#feed.stop());
    try {
      stop.throwIfAborted();
      while (this.#cursor.state.terminal === null) {
        yield* this.#cursor.readOn(stop);
        if (this.#feed.active) {
          // Not by `yield*`, which costs each entry several turns of the microtask queue more.
          for (let live = await this.#nextLive(); live !== null; live = await this.#nextLive()) yield live;
        } else {
          // Caught up after an overflow. Once more from the stream follows: what was stored before the feed was live.
          await this.#feed.start(stop);
        }
        stop.throwIfAborted();
      }
    } catch (error) {
      signal?.throwIfAborted();
      if (!this.#closed.signal.aborted) throw error;
    } finally {
      this.close();
    }
  }

  /** The next live entry; null after the terminal one, and where what follows has to be read from the stream. */
  async #nextLive(): Promise<LogEntry | null> {
    while (this.#cursor.state.terminal === null) {
      const live = await this.#feed.next();
      if (live === null) return null;
      const seen = this.#cursor.top?.sequence ?? 0;
      if (live.sequence <= seen) continue;
      if (live.previous !== seen) return null;
      const { sequence, data, headers } = live;
      return this.#cursor.advance(
        this.#store.parse(this.#cursor.state.generationId, sequence, data, headers),
      );
    }
    return null;
  }

  /** Stops the live feed and ends the iteration. */
  close(): void {
    this.#closed.abort();
    this.#feed.stop();
  }
}
