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
import { ErrorCode, Job, UnrecoverableError, Worker } from 'bullmq';
import type { Redis } from 'ioredis';
import { turnTaken } from './fair-order.ts';
import { HandedOver } from './handed-over.ts';
import { applyFate, type Fate } from './job-fate.ts';
import { LockLost } from './lock-lost.ts';
import { queueTelemetry } from './queue-telemetry.ts';
import { recordWait } from './record-wait.ts';
import { noteServiceTime } from './service-times.ts';
import { leavePlace } from './tenant-places.ts';

/**
 * Runs one generation. What it throws decides the job's fate by the error's outcome in `@baton/errors`: `retry` puts it
 * back for a moment later, `drop` forgets it, `fail` gives it up. When `signal` is aborted it should stop at a token
 * boundary and throw the signal's reason, which hands the job back to the front of the queue, or `HandedOver`, which
 * offers it to another worker first; returning completes it.
 */
export type GenerationHandler = (job: GenerationJob, signal: AbortSignal) => Promise<void>;

export interface ConsumerOptions {
  /** Generations run at once. */
  readonly concurrency: number;
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
/** One run of a job, under the lock that it was taken with. */
interface Run {
  readonly id: string;
  readonly token: string;
  /** Aborted when this worker has taken the job anew, or closes. */
  readonly signal: AbortSignal;
  readonly stop: AbortController;
  readonly ended: Promise<void>;
}

/** How long handlers that were told to stop may take, and Redis at close. */
const closeMs = 5000;

/**
 * The worker's end of the queue: takes jobs, keeps their locks, gives every job one of the fates of `GenerationHandler`.
 * A job is never lost to a count of attempts: it leaves the queue when its handler is done or when it was given up.
 * States: running ⇄ paused (by `pause` and `resume`) → closed.
 */
export class GenerationConsumer {
  readonly #client: Redis;
  readonly #worker: Worker<unknown>;
  readonly #handler: GenerationHandler;
  readonly #options: ConsumerOptions;
  readonly #runs = new Set<Run>();
  /** The latest run of each job. */
  readonly #latest = new Map<string, Run>();
  /** Those whose locks are kept. */
  readonly #locked = new Set<Run>();
  readonly #renewal: NodeJS.Timeout;
  readonly #drain = new AbortController();
  /** How many of them BullMQ knows nothing of. */
  #adopted = 0;
  #limit: number;
  #isPaused = false;

  private constructor(
    client: Redis,
    health: RedisHealth,
    handler: GenerationHandler,
    options: ConsumerOptions,
  ) {
    this.#client = client;
    this.#handler = handler;
    this.#options = options;
    this.#limit = options.concurrency;
    const process = (queued: Job<unknown>, token = '') => {
      recordWait(queued);
      return this.#track(queued.id ?? '', token, (run) => this.#process(queued, run));
    };
    this.#worker = new Worker<unknown>(queueName, process, {
      connection: client,
      prefix: redisPrefix,
      telemetry: queueTelemetry(),
      concurrency: options.concurrency,
      lockDuration: lockMs,
      // It knows locks by their jobs alone: a run that has lost its lock would end the renewal of the next one's here.
      skipLockRenewal: true,
      stalledInterval: stalledCheckMs,
      // The generation's log tells how many workers died of it, and its next owner gives it up.
      maxStalledCount: Number.MAX_SAFE_INTEGER,
      runRetryDelay: 500,
      ...(options.name !== undefined && { name: options.name }),
    });
    this.#renewal = this.#renewLocks(health);
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

  /** Generations running here now; one whose job has come again counts once. */
  get active(): number {
    return new Set([...this.#runs].map(({ id }) => id)).size;
  }

  /** Takes no new jobs until `resume`; running ones run on. */
  pause(): void {
    this.#isPaused = true;
    this.#fetchWhatFits();
  }

  resume(): void {
    if (this.#drain.signal.aborted) return;
    this.#isPaused = false;
    this.#fetchWhatFits();
  }

  /** Fetches no more while so many run, fewer than `concurrency`; what is offered by another worker has room all the same. */
  limit(jobs: number): void {
    if (jobs === this.#limit) return;
    this.#limit = jobs;
    this.#fetchWhatFits();
  }

  /**
   * Takes no new jobs, and hands running ones back to the front of the queue for another worker, for which they have
   * `drainMs`. Ends in bounded time, also while Redis is away: locks then run out by themselves.
   */
  async close(drainMs = closeMs): Promise<void> {
    this.pause();
    this.#drain.abort();
    await this.#settle(drainMs);
    clearInterval(this.#renewal);
    await within(closeMs, this.#worker.close(this.active > 0));
    this.#client.disconnect();
  }

  async #settle(timeoutMs: number): Promise<void> {
    if (this.active > 0) {
      await within(timeoutMs, Promise.allSettled([...this.#runs].map(({ ended }) => ended)));
    }
  }

  /**
   * Runs a job that another worker has stopped running, under the lock that it still has. False where there is no room for
   * it, or no such job any more.
   */
  async adopt(generationId: string, lockToken: string): Promise<boolean> {
    if (this.#isPaused || this.active >= this.#options.concurrency) return false;
    const found = this.#takeLock(generationId, lockToken);
    this.#adopted++;
    this.#fetchWhatFits();
    const leave = () => {
      this.#adopted--;
      this.#fetchWhatFits();
    };
    const adopted = async (run: Run) => {
      const queued = await found;
      if (queued) await this.#runAdopted(queued, run);
    };
    this.#track(generationId, lockToken, adopted).then(leave, leave);
    return (await found) !== null;
  }

  async #takeLock(generationId: string, lockToken: string): Promise<Job<unknown> | null> {
    const queued = await Job.fromId<unknown>(this.#worker, generationId);
    if (!queued || (await queued.extendLock(lockToken, lockMs)) !== 1) return null;
    // From here on it is taken back when this worker is lost, and not when the former one is.
    await this.#client.hset(this.#worker.toKey(generationId), 'pb', this.#options.name ?? '');
    return queued;
  }

  async #runAdopted(queued: Job<unknown>, run: Run): Promise<void> {
    await this.#process(queued, run)
      .then(
        async () => {
          await queued.moveToCompleted(null, run.token, false);
        },
        async (error: unknown) => {
          // After any other fate it is where that has put it.
          if (error instanceof UnrecoverableError) await queued.moveToFailed(error, run.token, false);
        },
      )
      .catch((error: unknown) => {
        this.#options.onError?.(new ServerError(`queue ${queueName}: ${String(error)}`, { cause: error }));
      });
  }

  #renewLocks(health: RedisHealth): NodeJS.Timeout {
    let renewing = false;
    return setInterval(async () => {
      if (renewing || this.#locked.size === 0) return;
      renewing = true;
      try {
        const runs = [...this.#locked];
        // A lock that is lost needs no word: another worker claims the log, and this one meets that there.
        await this.#worker.extendJobLocks(
          runs.map(({ id }) => id),
          runs.map(({ token }) => token),
          lockMs,
        );
      } catch (error) {
        this.#report(error, health);
      } finally {
        renewing = false;
      }
    }, renewMs);
  }

  /**
   * Has BullMQ fetch as many jobs as adopted ones leave room for. It knows no room for none, and looks whether there is more
   * than before only when a job ends, or when it is resumed.
   */
  #fetchWhatFits(): void {
    const room = this.#limit - this.#adopted;
    void this.#worker.pause(true);
    if (this.#isPaused || room <= 0) return;
    this.#worker.concurrency = room;
    void this.#worker.resume();
  }

  /** Settles the job's fate. */
  async #process(queued: Job<unknown>, run: Run): Promise<void> {
    const former = this.#latest.get(run.id);
    this.#latest.set(run.id, run);
    this.#locked.add(run);
    try {
      if (former !== undefined) await this.#end(former);
      const startedAt = performance.now();
      const [, fate] = await Promise.all([
        turnTaken(this.#client, queued.priority),
        this.#decide(queued, run),
      ]);
      await this.#account(queued, fate, performance.now() - startedAt);
      await applyFate(queued, run.token, fate);
    } finally {
      this.#locked.delete(run);
      if (this.#latest.get(run.id) === run) this.#latest.delete(run.id);
    }
  }

  /** Ends a run whose job has come here again: it has lost its lock. One that does not end is left to the log's fencing. */
  async #end(former: Run): Promise<void> {
    former.stop.abort(new LockLost());
    await within(closeMs, former.ended);
  }

  /** Whoever is done leaves its tenant's place. */
  async #account({ id = '', data }: Job<unknown>, { kind }: Fate, milliseconds: number): Promise<void> {
    if (kind !== 'done' && kind !== 'refused') return;
    const { tenant } = Object(data) as { tenant?: unknown };
    if (typeof tenant === 'string') await leavePlace(this.#client, tenant, id);
    if (kind === 'done') await noteServiceTime(this.#client, Math.round(milliseconds));
  }

  /** Counts `work` as running from before it begins, and has `close` wait for it. */
  #track(id: string, token: string, work: (run: Run) => Promise<void>): Promise<void> {
    const stop = new AbortController();
    const signal = AbortSignal.any([this.#drain.signal, stop.signal]);
    const ended = Promise.resolve().then(() => work(run));
    const run: Run = { id, token, signal, stop, ended };
    const forget = () => void this.#runs.delete(run);
    this.#runs.add(run);
    ended.then(forget, forget);
    return ended;
  }

  /** Runs the job, unless it cannot be run, and tells what is to become of it. */
  async #decide(queued: Job<unknown>, { id, signal, stop }: Run): Promise<Fate> {
    let job: GenerationJob | null = null;
    try {
      // Fetched while the consumer was closing, was told to pause, or adopted what took the room.
      signal.throwIfAborted();
      if (this.#isPaused || this.active > this.#options.concurrency) return { kind: 'handed back' };
      job = parseMessage(generationJobSchema, queued.data, `queue ${queueName}, job ${id}`);
      await this.#handler(job, signal);
      return { kind: stop.signal.aborted ? 'taken anew' : 'done' };
    } catch (error) {
      if (stop.signal.aborted) return { kind: 'taken anew' };
      if (error instanceof HandedOver) return { kind: 'handed over', offer: error.offer };
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
    this.#worker.on('error', (error) => {
      const code = 'code' in error ? error.code : undefined;
      // Of a run that has lost its lock: its job is another run's.
      if (code === ErrorCode.JobLockNotExist || code === ErrorCode.JobLockMismatch) return;
      this.#report(error, health);
    });
  }

  #report(error: unknown, health: RedisHealth): void {
    if (this.#drain.signal.aborted) return;
    const { message, syscall } = Object(error) as { message?: string; syscall?: string };
    if (syscall !== undefined || this.#client.status !== 'ready') health.failed(error);
    else this.#options.onError?.(new ServerError(`queue ${queueName}: ${message}`, { cause: error }));
  }
}

/** Waits for `work`, at most `timeoutMs`. */
async function within(timeoutMs: number, work: Promise<unknown>): Promise<void> {
  const timer = new AbortController();
  const timeout = delay(timeoutMs, undefined, { signal: timer.signal });
  await Promise.race([work, timeout].map((promise) => promise.catch(() => {})));
  timer.abort();
}
