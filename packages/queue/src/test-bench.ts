import type { BatonError } from '@baton/errors';
import { type GenerationJob, newId } from '@baton/protocol';
import { exampleJob } from '@baton/protocol/testing';
import { startTestRedis, type TestServer } from '@baton/testing';
import { type ConsumerOptions, GenerationConsumer, type GenerationHandler } from './generation-consumer.ts';
import { GenerationQueue } from './generation-queue.ts';

export const newJob = () => exampleJob({ id: newId('resp', 'default') });

/** Waits without a bound of its own: the test's timeout is the bound. */
export async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await condition())) await new Promise((resolve) => setTimeout(resolve, 10));
}

interface GivenUp {
  id: string;
  error: BatonError;
  job: GenerationJob | null;
}

/** A queue in a Redis of its own, and its consumers. */
export class TestBench {
  readonly redis: TestServer;
  readonly queue: GenerationQueue;
  readonly #consumers: GenerationConsumer[] = [];

  private constructor(redis: TestServer, queue: GenerationQueue) {
    this.redis = redis;
    this.queue = queue;
  }

  static async start(): Promise<TestBench> {
    const redis = await startTestRedis();
    return new TestBench(redis, await GenerationQueue.open(redis.url));
  }

  async stop(): Promise<void> {
    await Promise.all(this.#consumers.map((consumer) => consumer.close()));
    await this.queue.close();
    await this.redis.stop();
  }

  /** A consumer whose given-up jobs are collected. */
  async consume(handler: GenerationHandler, overrides: Partial<ConsumerOptions> = {}) {
    const givenUp: GivenUp[] = [];
    const consumer = await GenerationConsumer.start(this.redis.url, handler, {
      concurrency: 4,
      onGivenUp: async (id, error, job) => {
        givenUp.push({ id, error, job });
      },
      ...overrides,
    });
    this.#consumers.push(consumer);
    return { consumer, givenUp };
  }

  untilGone(job: GenerationJob): Promise<void> {
    return until(async () => !(await this.queue.has(job.id)));
  }
}
