import { setTimeout as delay } from 'node:timers/promises';
import { BatonError, outcomeOf, ServerError } from '@baton/errors';
import {
  type GenerationJob,
  generationJobSchema,
  parseMessage,
  queueName,
  redisPrefix,
} from '@baton/protocol';
import { connectRedis, RedisHealth } from '@baton/redis';
import { ErrorCode, type Job, Worker } from 'bullmq';
import type { Redis } from 'ioredis';
import { applyFate, type Fate } from './job-fate.ts';
import { queueTelemetry } from './queue-telemetry.ts';

/**
 * Runs one generation. What it throws decides the job's fate by the error's outcome in `@baton/errors`: `retry` puts it
 * back for a moment later, `drop` forgets it, `fail` gives it up. When `signal` is aborted it should stop at a token
 * boundary and throw the signal's reason, which hands the job back to the front of the queue; returning completes it.
 */
export type GenerationHandler = (job: GenerationJob, signal: AbortSignal) => Promise<void>;

export interface ConsumerOptions {
  /** Generations run at once. */
  readonly concurrency: number;
  /** How many workers may take one job and die of it before it is given up. */
  readonly maxClaims: number;
  /**
   * Nobody will run this generation any more: its log needs an `error` entry, unless it has ended. Until this
   * resolves the job is kept; when it throws, it is tried again. `job` is null where the payload did not parse.
   */
  readonly onGivenUp: (generationId: string, error: BatonError, job: GenerationJob | null) => Promise<void>;
  /** Hears of each outage of Redis once, and of whatever else goes wrong in the queue. */
  readonly onError?: (error: BatonError) => void;
  /** This worker's name, which BullMQ stores with each job it takes. */
  readonly name?: string;
}

/** A worker that died is noticed once its lock has run out and two checks have looked: after 2 to 3 seconds. */
const lockMs = 2000;
const renewMs = 500;
const stalledCheckMs = 500;
/** How long handlers that were told to stop, and then Redis, may take at close. */
const closeMs = 5000;

/**
 * The worker's end of the queue: takes jobs, keeps their locks, gives every job one of the fates of `GenerationHandler`.
 * A job is never lost to a count of attempts: it leaves the queue when its handler is done or when it was given up.
 * States: running → paused (by `pause`) → closed.
 */
export class GenerationConsumer {
  readonly #client: Redis;
  readonly #worker: Worker<unknown>;
  readonly #handler: GenerationHandler;
  readonly #options: ConsumerOptions;
  readonly #running = new Set<Promise<void>>();
  readonly #drain = new AbortController();

  private constructor(
    client: Redis,
    health: RedisHealth,
    handler: GenerationHandler,
    options: ConsumerOptions,
  ) {
    this.#client = client;
    this.#handler = handler;
    this.#options = options;
    this.#worker = new Worker<unknown>(queueName, (queued, token) => this.#process(queued, token), {
      connection: client,
      prefix: redisPrefix,
      telemetry: queueTelemetry(),
      concurrency: options.concurrency,
      lockDuration: lockMs,
      lockRenewTime: renewMs,
      stalledInterval: stalledCheckMs,
      // Giving up needs an entry in the log, which must not be lost when NATS is away: `#giveUp` does it, not BullMQ.
      maxStalledCount: Number.MAX_SAFE_INTEGER,
      runRetryDelay: 500,
      ...(options.name !== undefined && { name: options.name }),
    });
    this.#watch(health);
  }

  /** Starts taking jobs. Throws `DependencyError` where Redis does not answer now; later outages are waited out. */
  static async start(
    url: string,
    handler: GenerationHandler,
    options: ConsumerOptions,
  ): Promise<GenerationConsumer> {
    const health = new RedisHealth(url, options.onError ?? (() => {}));
    const client = await connectRedis(url, health, { maxRetriesPerRequest: null });
    return new GenerationConsumer(client, health, handler, options);
  }

  /** Generations running here now. */
  get active(): number {
    return this.#running.size;
  }

  /** Takes no new jobs; running ones run on. */
  async pause(): Promise<void> {
    await this.#worker.pause(true);
  }

  /**
   * Takes no new jobs, lets running ones finish for `graceMs`, then hands them back to the front of the queue for
   * another worker. Ends in bounded time, also while Redis is away: locks then run out by themselves.
   */
  async close(graceMs = 0): Promise<void> {
    await this.pause();
    await this.#settle(graceMs);
    this.#drain.abort();
    await this.#settle(closeMs);
    await within(closeMs, this.#worker.close(this.active > 0));
    this.#client.disconnect();
  }

  async #settle(timeoutMs: number): Promise<void> {
    if (this.active > 0) await within(timeoutMs, Promise.allSettled(this.#running));
  }

  /** Settles the job's fate where `close` can wait for it. */
  async #process(queued: Job<unknown>, token: string | undefined): Promise<void> {
    const settled = this.#decide(queued).then((fate) => applyFate(queued, token, fate));
    this.#running.add(settled);
    try {
      await settled;
    } finally {
      this.#running.delete(settled);
    }
  }

  /** Runs the job, unless it cannot be run, and tells what is to become of it. */
  async #decide(queued: Job<unknown>): Promise<Fate> {
    const id = queued.id ?? '';
    const { signal } = this.#drain;
    const { maxClaims } = this.#options;
    let job: GenerationJob | null = null;
    try {
      // Fetched while the consumer was closing.
      signal.throwIfAborted();
      job = parseMessage(generationJobSchema, queued.data, `queue ${queueName}, job ${id}`);
      if (queued.stalledCounter >= maxClaims) {
        throw new ServerError(`the generation was given up: ${maxClaims} workers died while they ran it`);
      }
      await this.#handler(job, signal);
      return { kind: 'done' };
    } catch (error) {
      if (signal.aborted && error === signal.reason) return { kind: 'handed back' };
      const failure = error instanceof BatonError ? error : new ServerError(String(error), { cause: error });
      const { job: outcome } = outcomeOf(failure.code);
      if (outcome === 'fail') return this.#giveUp(id, failure, job);
      return { kind: outcome === 'retry' ? 'later' : 'done' };
    }
  }

  async #giveUp(id: string, failure: BatonError, job: GenerationJob | null): Promise<Fate> {
    try {
      await this.#options.onGivenUp(id, failure, job);
    } catch (error) {
      const owned = error instanceof BatonError && outcomeOf(error.code).job === 'drop';
      return { kind: owned ? 'done' : 'later' };
    }
    return job === null ? { kind: 'refused', reason: failure.message } : { kind: 'done' };
  }

  #watch(health: RedisHealth): void {
    let renewals = 0;
    this.#worker.on('lockRenewalFailed', (ids) => {
      renewals += ids.length;
    });
    this.#worker.on('error', (error) => {
      if (this.#drain.signal.aborted) return;
      // A lock that is lost needs no word: another worker claims the log, and this one meets that there.
      if (renewals > 0) renewals--;
      else if ('code' in error && error.code === ErrorCode.JobLockNotExist) return;
      else if ('code' in error && error.code === ErrorCode.JobLockMismatch) return;
      else if ('syscall' in error || this.#client.status !== 'ready') health.failed(error);
      else this.#options.onError?.(new ServerError(`queue ${queueName}: ${error.message}`, { cause: error }));
    });
  }
}

/** Waits for `work`, at most `timeoutMs`. */
async function within(timeoutMs: number, work: Promise<unknown>): Promise<void> {
  const timer = new AbortController();
  const timeout = delay(timeoutMs, undefined, { signal: timer.signal });
  await Promise.race([work, timeout].map((promise) => promise.catch(() => {})));
  timer.abort();
}
