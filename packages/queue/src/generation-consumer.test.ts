import type { GenerationJob } from '@baton/protocol';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { newJob, TestBench, until } from './test-bench.ts';

let bench: TestBench;
beforeEach(async () => {
  bench = await TestBench.start();
});
afterEach(() => bench.stop());

describe('GenerationConsumer', () => {
  it('runs jobs side by side and forgets them when they are done', async () => {
    const jobs = Array.from({ length: 12 }, newJob);
    const seen: GenerationJob[] = [];
    let most = 0;
    const { consumer } = await bench.consume(async (job) => {
      most = Math.max(most, consumer.active);
      await new Promise((resolve) => setImmediate(resolve));
      seen.push(job);
    });
    await Promise.all(jobs.map((job) => bench.queue.add(job)));
    await Promise.all(jobs.map((job) => bench.untilGone(job)));
    expect(seen.toSorted((a, b) => a.id.localeCompare(b.id))).toEqual(
      jobs.toSorted((a, b) => a.id.localeCompare(b.id)),
    );
    expect(most).toBeGreaterThan(1);
    expect(most).toBeLessThanOrEqual(4);
    expect(await bench.queue.counts()).toEqual({ waiting: 0, active: 0, failed: 0 });
  });

  it('runs a job that was added again after it was done', async () => {
    const job = newJob();
    let runs = 0;
    await bench.consume(async () => {
      runs++;
    });
    for (const expected of [1, 2]) {
      await bench.queue.add(job);
      await until(() => runs === expected);
      await bench.untilGone(job);
    }
  });

  it('starts nothing new while paused', async () => {
    const started: string[] = [];
    const { consumer } = await bench.consume(async ({ id }) => {
      started.push(id);
    });
    consumer.pause();
    const job = newJob();
    await bench.queue.add(job);
    const { consumer: other } = await bench.consume(async ({ id }) => {
      started.push(`other ${id}`);
    });
    await bench.untilGone(job);
    expect(started).toEqual([`other ${job.id}`]);
    other.pause();
    const later = newJob();
    await bench.queue.add(later);
    consumer.resume();
    await bench.untilGone(later);
    expect(started).toEqual([`other ${job.id}`, later.id]);
  });
});

describe('close', () => {
  it('lets a running job finish within the grace', async () => {
    const job = newJob();
    const { promise: finishing, resolve: finish } = Promise.withResolvers<void>();
    const { consumer } = await bench.consume(() => finishing);
    await bench.queue.add(job);
    await until(() => consumer.active === 1);
    expect(await bench.queue.remove(job)).toBe(false);
    const closing = consumer.close(60_000);
    finish();
    await closing;
    expect(await bench.queue.has(job.id)).toBe(false);
  });

  it('hands a running job back to the front of the queue', async () => {
    const [running, waiting] = [newJob(), newJob()];
    const { consumer } = await bench.consume(
      (_, signal) =>
        new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason))),
      { concurrency: 1 },
    );
    await bench.queue.add(running);
    await until(() => consumer.active === 1);
    await bench.queue.add(waiting);
    await consumer.close();
    expect(await bench.queue.counts()).toEqual({ waiting: 2, active: 0, failed: 0 });

    const order: string[] = [];
    await bench.consume(
      async ({ id }) => {
        order.push(id);
      },
      { concurrency: 1 },
    );
    await bench.untilGone(waiting);
    expect(order).toEqual([running.id, waiting.id]);
  });
});
