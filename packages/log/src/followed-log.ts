import type { LogState } from '@baton/protocol';
import type { LogCursor } from './log-cursor.ts';
import type { LogSubscription } from './log-subscription.ts';

/** A log that is read as it grows, without anybody to whom its entries are given. */
export class FollowedLog {
  readonly #cursor: LogCursor;
  readonly #subscription: LogSubscription;
  readonly #ended: Promise<void>;

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
    this.#ended = this.#readOn();
  }

  get state(): Readonly<LogState> {
    return this.#cursor.state;
  }

  /** Gives how far it was read; nobody else moves that on any more. */
  async stop(): Promise<LogCursor> {
    this.#subscription.close();
    await this.#ended;
    return this.#cursor;
  }

  async #readOn(): Promise<void> {
    try {
      for await (const _ of this.#subscription.entries());
    } catch {
      // Whoever goes on from the cursor meets the same, and says so.
    }
  }
}
