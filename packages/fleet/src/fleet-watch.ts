import { MessageError } from '@baton/errors';
import { heartbeatSubject, parseMessage, type WorkerStatus, workerStatusSchema } from '@baton/protocol';
import type { NatsConnection, Subscription } from '@nats-io/transport-node';

/** A worker as it was last heard of. */
export interface SeenWorker extends WorkerStatus {
  /** Milliseconds since then. */
  readonly silentMs: number;
}

export interface FleetWatchOptions {
  /** A worker that is not heard of for so long is taken for lost: several heartbeats. */
  readonly silenceMs?: number;
  /**
   * Hears of each worker that fell silent, and again every `lostAgainMs` while it stays so: a worker that others cannot hear
   * may still take what was taken from it.
   */
  readonly onLost?: (worker: SeenWorker) => void;
  readonly lostAgainMs?: number;
  readonly onError?: (error: Error) => void;
}

const checkMs = 50;
/** What is lost is shown for a while longer. */
const forgetMs = 60_000;

interface Heard {
  readonly status: WorkerStatus;
  at: number;
  /** When it was last told to be lost; null while it is not. */
  lostAt: number | null;
}

/** Listens to all heartbeats. */
export class FleetWatch {
  readonly #options: FleetWatchOptions;
  readonly #silenceMs: number;
  readonly #heard = new Map<string, Heard>();
  readonly #connection: NatsConnection;
  readonly #subscription: Subscription;
  readonly #timer: NodeJS.Timeout;
  readonly #startedAt = performance.now();
  #checkedAt = performance.now();
  #asking = false;

  constructor(connection: NatsConnection, options: FleetWatchOptions = {}) {
    this.#options = options;
    this.#silenceMs = options.silenceMs ?? 350;
    this.#connection = connection;
    this.#subscription = connection.subscribe(heartbeatSubject, {
      callback: (error, message) => {
        if (!error) this.#hear(message.data);
      },
    });
    this.#timer = setInterval(() => this.#check(), checkMs);
    void this.#watchConnection();
  }

  /** Every worker heard of lately that has not stopped, by name. */
  get workers(): SeenWorker[] {
    const now = performance.now();
    return [...this.#heard.values()]
      .map(({ status, at }) => ({ ...status, silentMs: now - at }))
      .sort((a, b) => a.worker.localeCompare(b.worker));
  }

  /** Whether there may be workers that it has not heard yet. */
  get isNew(): boolean {
    return performance.now() - this.#startedAt < this.#silenceMs;
  }

  /** Those that can take generations now. */
  get running(): SeenWorker[] {
    return this.workers.filter(({ state, silentMs }) => state === 'running' && silentMs < this.#silenceMs);
  }

  close(): void {
    clearInterval(this.#timer);
    this.#subscription.unsubscribe();
  }

  #hear(data: Uint8Array): void {
    try {
      const status = parseMessage(workerStatusSchema, data, heartbeatSubject);
      if (status.state === 'stopped') this.#heard.delete(status.worker);
      else this.#heard.set(status.worker, { status, at: performance.now(), lostAt: null });
    } catch (error) {
      if (!(error instanceof MessageError)) throw error;
      this.#options.onError?.(error);
    }
  }

  #check(): void {
    const now = performance.now();
    const late = now - this.#checkedAt;
    this.#checkedAt = now;
    // This process stood still, and has not read yet what came meanwhile.
    if (late > 2 * checkMs) {
      this.#startAnew();
      return;
    }
    for (const [worker, { at }] of this.#heard) if (now - at > forgetMs) this.#heard.delete(worker);
    if (!this.#asking && this.#silent().length > 0) void this.#ask();
  }

  /** Workers that are to be told lost, for the first time or again. */
  #silent(): Heard[] {
    const now = performance.now();
    const { lostAgainMs = 1000 } = this.#options;
    return [...this.#heard.values()].filter(
      ({ at, lostAt }) => now - at >= this.#silenceMs && (lostAt === null || now - lostAt >= lostAgainMs),
    );
  }

  /**
   * Makes sure that it is them who are silent, and not this process that is deaf: once the server has answered, all that it
   * had to say before has been heard.
   */
  async #ask(): Promise<void> {
    this.#asking = true;
    try {
      await this.#connection.flush();
      for (const heard of this.#silent()) {
        heard.lostAt = performance.now();
        this.#options.onLost?.({ ...heard.status, silentMs: heard.lostAt - heard.at });
      }
    } catch {
      // The connection is lost, which `#watchConnection` hears of.
    } finally {
      this.#asking = false;
    }
  }

  /** Nobody is blamed for a time in which this process could not hear. */
  #startAnew(): void {
    for (const heard of this.#heard.values()) if (heard.lostAt === null) heard.at = performance.now();
  }

  async #watchConnection(): Promise<void> {
    for await (const { type } of this.#connection.status()) {
      if (type === 'disconnect' || type === 'reconnect' || type === 'staleConnection') this.#startAnew();
    }
  }
}
