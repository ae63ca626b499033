import type { BatonError } from '@baton/errors';
import { startTestRedis } from '@baton/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { GenerationConsumer } from './generation-consumer.ts';
import { newJob, TestBench, until } from './test-bench.ts';

let bench: TestBench;
beforeEach(async () => {
  bench = await TestBench.start();
});
afterEach(() => bench.stop());

describe('Redis that restarts with its data', () => {
  it('keeps jobs waiting and running, and is reported once', async () => {
    const jobs = Array.from({ length: 6 }, newJob);
    const finished: string[] = [];
    const errors: BatonError[] = [];
    const { promise: restarted, resolve: goOn } = Promise.withResolvers<void>();
    const { consumer, givenUp } = await bench.consume(
      async ({ id }) => {
        await restarted;
        finished.push(id);
      },
      { concurrency: 2, onError: (error) => errors.push(error) },
    );
    await Promise.all(jobs.map((job) => bench.queue.add(job)));
    await until(() => consumer.active === 2);
    await bench.redis.restart();
    goOn();
    await until(async () => {
      const left = await bench.queue.counts().catch(() => null);
      return left !== null && left.waiting + left.active === 0;
    });
    expect(new Set(finished)).toEqual(new Set(jobs.map(({ id }) => id)));
    expect(givenUp).toEqual([]);
    expect(errors.map(({ code }) => code)).toEqual(['dependency_unavailable']);
  });

  it('does not hold up a close while it is away', async () => {
    const own = await startTestRedis();
    const consumer = await GenerationConsumer.start(own.url, async () => {}, {
      concurrency: 1,
      onGivenUp: async () => {},
    });
    await own.kill('SIGKILL');
    await consumer.close();
    await own.stop();
  });
});
