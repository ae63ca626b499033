import { count } from '@baton/telemetry';
import { RepublishHeaders } from '@nats-io/jetstream';
import type { Msg, NatsConnection, Subscription } from '@nats-io/transport-node';
import { type EntryHeaders, headersOf } from './entry-headers.ts';
import type { TokenLogSettings } from './settings.ts';
import { whileUnavailable } from './unavailable.ts';

/** A stored entry as JetStream republished it. */
export interface LiveMessage {
  /** Its position in the stream. */
  readonly sequence: number;
  /** The position of the entry before it on the same subject; 0 where it is the first. */
  readonly previous: number;
  readonly data: Uint8Array;
  readonly headers: EntryHeaders;
}

/**
 * The live entries of one generation, held in a bounded buffer until somebody asks for them. When the buffer is full,
 * because its reader is slow, the feed stops and forgets: the stream has everything.
 */
export class LiveFeed {
  readonly #connection: NatsConnection;
  readonly #subject: string;
  readonly #settings: TokenLogSettings;
  #subscription: Subscription | null = null;
  #buffer: LiveMessage[] = [];
  #bytes = 0;
  #wake: (() => void) | null = null;
  /** Of the present wait or an earlier one: a new one for each would cost every entry. */
  #idle: NodeJS.Timeout | null = null;

  constructor(connection: NatsConnection, subject: string, settings: TokenLogSettings) {
    this.#connection = connection;
    this.#subject = subject;
    this.#settings = settings;
  }

  get active(): boolean {
    return this.#subscription !== null && !this.#subscription.isClosed();
  }

  /**
   * Resolves once the server has taken the subscription: everything stored from then on comes. Throws
   * `DependencyError` where NATS stays away.
   */
  async start(signal?: AbortSignal): Promise<void> {
    this.stop();
    this.#subscription = this.#connection.subscribe(this.#subject, {
      callback: (error, message) => (error ? this.stop() : this.#take(message)),
    });
    const { deadlineMs } = this.#settings;
    await whileUnavailable(`follow ${this.#subject}`, () => this.#connection.flush(), { deadlineMs, signal });
  }

  stop(): void {
    this.#subscription?.unsubscribe();
    this.#subscription = null;
    this.#buffer = [];
    this.#bytes = 0;
    clearTimeout(this.#idle ?? undefined);
    this.#idle = null;
    this.#wake?.();
  }

  #take(message: Msg): void {
    const { data } = message;
    const bytes = data.length;
    if (this.#buffer.length > 0 && this.#bytes + bytes > this.#settings.liveBufferBytes) {
      count('feedOverflows');
      this.stop();
      return;
    }
    this.#bytes += bytes;
    const headers = headersOf(message);
    this.#buffer.push({
      sequence: Number(headers.get(RepublishHeaders.Sequence)),
      previous: Number(headers.get(RepublishHeaders.LastSequence)),
      data,
      headers,
    });
    this.#wake?.();
  }

  /** The next live entry; null where the feed has stopped, or none came for `idleCheckMs`. */
  async next(): Promise<LiveMessage | null> {
    if (this.#buffer.length === 0 && this.active) {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#wake = resolve;
      this.#idle ??= setTimeout(() => this.#wake?.(), this.#settings.idleCheckMs);
      this.#idle.refresh();
      await promise;
      this.#wake = null;
    }
    const next = this.#buffer.shift() ?? null;
    this.#bytes -= next?.data.length ?? 0;
    return next;
  }
}
