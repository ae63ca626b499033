import { count } from '@baton/telemetry';
import { RepublishHeaders } from '@nats-io/jetstream';
import type { Msg, NatsConnection, Subscription } from '@nats-io/transport-node';
import type { TokenLogSettings } from './settings.ts';
import { whileUnavailable } from './unavailable.ts';

/** A stored entry as JetStream republished it. */
export interface LiveMessage {
  /** Its position in the stream. */
  readonly sequence: number;
  /** The position of the entry before it on the same subject; 0 where it is the first. */
  readonly previous: number;
  readonly message: Msg;
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
    this.#wake?.();
  }

  #take(message: Msg): void {
    const bytes = message.data.length;
    if (this.#buffer.length > 0 && this.#bytes + bytes > this.#settings.liveBufferBytes) {
      count('feedOverflows');
      this.stop();
      return;
    }
    this.#bytes += bytes;
    this.#buffer.push({
      sequence: Number(message.headers?.get(RepublishHeaders.Sequence)),
      previous: Number(message.headers?.get(RepublishHeaders.LastSequence)),
      message,
    });
    this.#wake?.();
  }

  /** The next live entry; null where the feed has stopped, or none came for `idleCheckMs`. */
  async next(): Promise<LiveMessage | null> {
    if (this.#buffer.length === 0 && this.active) {
      const { promise, resolve } = Promise.withResolvers<void>();
      const timer = setTimeout(resolve, this.#settings.idleCheckMs);
      this.#wake = resolve;
      await promise;
      this.#wake = null;
      clearTimeout(timer);
    }
    const next = this.#buffer.shift() ?? null;
    this.#bytes -= next?.message.data.length ?? 0;
    return next;
  }
}
