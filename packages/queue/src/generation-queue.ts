import type { DependencyError } from '@baton/errors';
import {
  type GenerationJob,
  generationJobSchema,
  parseMessage,
  queueName,
  redisPrefix,
} from '@baton/protocol';
import { connectRedis, RedisHealth } from '@baton/redis';
import { type JobsOptions, Queue } from 'bullmq';
import type { Redis } from 'ioredis';
import { FairOrder } from './fair-order.ts';
import { moveToFront } from './move-to-front.ts';
import { queueTelemetry } from './queue-telemetry.ts';
import { meanServiceTime } from './service-times.ts';
import { leavePlace, TenantPlaces } from './tenant-places.ts';

export interface QueueCounts {
  /** Not taken by any worker: waiting, or put back to be tried again in a moment. */
  waiting: number;
  active: number;
  /** Refused because the payload did not parse; kept for a day to be looked at. */
  failed: number;
}

export interface Outlook {
  /** Generations that would be taken before it. */
  readonly ahead: number;
  readonly waiting: number;
  readonly active: number;
  /** Mean milliseconds that a generation takes its worker; null while nobody knows. */
  readonly serviceMs: number | null;
}

/**
 * What becomes of a job afterwards. Once it is done its log says everything, and its id must be free, so that a job
 * that was lost can be added again.
 */
const jobOptions: JobsOptions = {
  removeOnComplete: true,
  removeOnFail: { age: 24 * 3600, count: 1000 },
};

/**
 * The gateway's end of the queue of generations. Every method throws `DependencyError` at once while Redis is away; the
 * connection comes back by itself.
 */
export class GenerationQueue {
  readonly #client: Redis;
  readonly #queue: Queue<GenerationJob>;
  readonly #health: RedisHealth;
  readonly #order: FairOrder;
  readonly #places: TenantPlaces;

  private constructor(client: Redis, health: RedisHealth) {
    this.#client = client;
    this.#health = health;
    this.#queue = new Queue(queueName, {
      connection: client,
      prefix: redisPrefix,
      telemetry: queueTelemetry(),
    });
    this.#order = new FairOrder(client, this.#queue.toKey('prioritized'));
    this.#places = new TenantPlaces(client, (id) => this.#queue.toKey(id));
    // BullMQ only repeats what the client has reported to `health` itself.
    this.#queue.on('error', () => {});
  }

  /** `onError` hears of each outage once. Throws `DependencyError` where Redis does not answer. */
  static async open(
    url: string,
    { onError = () => {} }: { onError?: (error: DependencyError) => void } = {},
  ): Promise<GenerationQueue> {
    const health = new RedisHealth(url, onError);
    const client = await connectRedis(url, health, {
      // A client waits for the answer, so a command fails now rather than succeed some time later.
      enableOfflineQueue: false,
      maxRetriesPerRequest: 0,
      commandTimeout: 5000,
    });
    return new GenerationQueue(client, health);
  }

  /**
   * Adds a job under its generation's id, in its tenant's turn; one that is there already stays as it is. Throws `MessageError` for a job that
   * no worker could parse.
   */
  async add(job: GenerationJob): Promise<void> {
    const payload = parseMessage(generationJobSchema, job, `queue ${queueName}`);
    const priority = await this.#ask(this.#order.next(job.tenant));
    await this.#ask(this.#queue.add('generation', payload, { ...jobOptions, jobId: job.id, priority }));
  }

  /**
   * Takes the tenant's places for generations that are about to be added, or none: false where it would have more than
   * `limit` waiting and running. A place is left when its generation has ended, or is removed.
   */
  async takePlaces(tenant: string, generationIds: readonly string[], limit: number): Promise<boolean> {
    return this.#ask(this.#places.take(tenant, generationIds, limit));
  }

  /** How long a generation that `tenant` added now would come to wait, as far as anybody can tell. */
  async outlook(tenant: string): Promise<Outlook> {
    const [ahead, counts, serviceMs] = await Promise.all([
      this.#ask(this.#order.ahead(tenant)),
      this.counts(),
      this.#ask(meanServiceTime(this.#client)),
    ]);
    return { ahead, waiting: counts.waiting, active: counts.active, serviceMs };
  }

  /** Whether the queue knows the job: waiting, running or refused. A finished one is unknown. */
  async has(generationId: string): Promise<boolean> {
    return (await this.#ask(this.#queue.getJobState(generationId))) !== 'unknown';
  }

  /** Why the job was refused; null where it was not. */
  async refusal(generationId: string): Promise<string | null> {
    const job = await this.#ask(this.#queue.getJob(generationId));
    return job && (await this.#ask(job.isFailed())) ? job.failedReason : null;
  }

  async counts(): Promise<QueueCounts> {
    const counts = await this.#ask(
      this.#queue.getJobCounts('wait', 'prioritized', 'delayed', 'active', 'failed'),
    );
    const { wait = 0, prioritized = 0, delayed = 0, active = 0, failed = 0 } = counts;
    return { waiting: wait + prioritized + delayed, active, failed };
  }

  /** Takes a job out, if it is there; false where a worker is running it, which then goes on. */
  async remove({ id, tenant }: Pick<GenerationJob, 'id' | 'tenant'>): Promise<boolean> {
    const removed = (await this.#ask(this.#queue.remove(id))) === 1;
    if (removed) await this.#ask(leavePlace(this.#client, tenant, id));
    return removed;
  }

  /**
   * Puts what a lost worker was running back to the front of the queue, without waiting for its locks to run out. Gives the
   * generations; those that another worker has taken meanwhile are left alone.
   */
  async takeBack(worker: string): Promise<string[]> {
    return this.#ask(
      (async () => {
        const taken: string[] = [];
        for (const id of await this.#client.lrange(this.#queue.toKey('active'), 0, -1)) {
          const key = this.#queue.toKey(id);
          // The lock first, and then whose job it is: a lock of whoever took it in between is never the one read.
          const token = await this.#client.get(`${key}:lock`);
          if ((await this.#client.hget(key, 'pb')) !== worker) continue;
          // Without a lock the stalled check has it.
          const job = token === null ? undefined : await this.#queue.getJob(id);
          if (token === null || job === undefined) continue;
          const moved = await moveToFront(job, token).then(
            () => true,
            () => false,
          );
          if (moved) taken.push(id);
        }
        return taken;
      })(),
    );
  }

  async close(): Promise<void> {
    await this.#queue.close();
    this.#client.disconnect();
  }

  async #ask<T>(answer: Promise<T>): Promise<T> {
    try {
      return await answer;
    } catch (error) {
      throw this.#health.unavailable(error);
    }
  }
}
