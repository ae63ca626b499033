import type { LogEntry, LogState } from '@baton/protocol';
import type { LogCursor } from './log-cursor.ts';
import type { LogSubscription } from './log-subscription.ts';

/** A log that is read as it grows until it is claimed: the claim then has nothing to read. Made by `TokenLog.follow`. */
export class FollowedLog {
  readonly #cursor: LogCursor;
  readonly #subscription: LogSubscription;

  /** `subscription` moves `cursor` on. Resolves when all that is stored now has been read. */
  static async start(cursor: LogCursor, subscription: LogSubscription): Promise<FollowedLog> {
    try {
      await cursor.readToEnd();
    } catch (error) {
      subscription.close();
      throw error;
    }
    return new FollowedLog(cursor, subscription);
  }

  private constructor(cursor: LogCursor, subscription: LogSubscription) {
    this.#cursor = cursor;
    this.#subscription = subscription;
  }

  /** What has been read up to now. */
  get state(): Readonly<LogState> {
    return this.#cursor.state;
  }

  /** Reads what has been stored by now, before `entries` are. */
  async readOn(): Promise<void> {
    await this.#cursor.readToEnd();
  }

  /** Further entries, as they come; to be iterated once. See `LogSubscription.entries`. */
  entries({ signal }: { signal?: AbortSignal } = {}): AsyncGenerator<LogEntry, void> {
    return this.#subscription.entries(signal && { signal });
  }

  /** Gives how far it was read; nobody else moves that on any more. Not while `entries` are waited for. */
  stop(): LogCursor {
    this.#subscription.close();
    return this.#cursor;
  }
}
