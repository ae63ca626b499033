import { once } from 'node:events';
import type { GenerationJob } from '@baton/protocol';
import { RecordedMetrics } from '@baton/telemetry/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { GenerationConsumer, GenerationHandler } from './generation-consumer.ts';
import { HandedOver } from './handed-over.ts';
import { newJob, TestBench, until } from './test-bench.ts';

const metrics = new RecordedMetrics();

let bench: TestBench;
beforeEach(async () => {
  bench = await TestBench.start();
  metrics.clear();
});
afterEach(() => bench.stop());

describe('a job that is handed over', () => {
  /** Has `former` take a job and hand it over to `next`, which runs `handler`. */
  async function handOver(job: GenerationJob, handler: GenerationHandler): Promise<void> {
    const { promise: target, resolve: provide } = Promise.withResolvers<GenerationConsumer>();
    const { promise: accepted, resolve: answer } = Promise.withResolvers<boolean>();
    const { consumer: former } = await bench.consume(
      async ({ id }) => {
        const next = await target;
        throw new HandedOver('next', async (lockToken) => {
          const taken = await next.adopt(id, lockToken);
          answer(taken);
          return taken;
        });
      },
      { name: 'former', concurrency: 1 },
    );
    await bench.queue.add(job);
    await until(() => former.active === 1);
    former.pause();
    const { consumer: next } = await bench.consume(handler, { name: 'next' });
    provide(next);
    expect(await accepted).toBe(true);
  }

  it('is run under the lock of the one before, and not taken back when that one is lost', async () => {
    const job = newJob();
    const seen: string[] = [];
    const { promise: finishing, resolve: finish } = Promise.withResolvers<void>();
    await handOver(job, async ({ id }) => {
      seen.push(id);
      await finishing;
    });
    expect(await bench.queue.takeBack('former')).toEqual([]);
    finish();
    await bench.untilGone(job);
    expect(seen).toEqual([job.id]);
  });

  it('is taken back when the one that has it is lost', async () => {
    const job = newJob();
    let runs = 0;
    await handOver(job, async (_, signal) => {
      if (++runs === 1) await once(signal, 'abort');
    });
    expect(await bench.queue.takeBack('next')).toEqual([job.id]);
    await until(() => runs === 2);
  });

  it('has waited once: until it was fetched first, and neither where it is moved nor where it is fetched again', async () => {
    const job = newJob();
    const waits = () => metrics.measured('baton.queue.wait.duration').length;
    let runs = 0;
    await handOver(job, async (_, signal) => {
      if (++runs === 1) await once(signal, 'abort');
    });
    await until(() => runs === 1);
    expect(waits()).toBe(1);
    await bench.queue.takeBack('next');
    await until(() => runs === 2);
    await bench.untilGone(job);
    expect(waits()).toBe(1);
  });
});

describe('jobs that are handed over one after another', () => {
  /** Has a former owner take `jobs`, which then hands each over when `moveTo` is called. */
  async function takeAll(jobs: readonly GenerationJob[]) {
    const targets = new Map<string, (consumer: GenerationConsumer) => void>();
    const answers = new Map<string, (taken: boolean) => void>();
    const { consumer: former } = await bench.consume(
      async ({ id }) => {
        const next = await new Promise<GenerationConsumer>((resolve) => targets.set(id, resolve));
        throw new HandedOver('next', async (lockToken) => {
          const taken = await next.adopt(id, lockToken);
          answers.get(id)?.(taken);
          return taken;
        });
      },
      { name: 'former', concurrency: jobs.length },
    );
    await Promise.all(jobs.map((job) => bench.queue.add(job)));
    await until(() => targets.size === jobs.length);
    former.pause();
    return {
      moveTo: (next: GenerationConsumer, { id }: GenerationJob) =>
        new Promise<boolean>((resolve) => {
          answers.set(id, resolve);
          targets.get(id)?.(next);
        }),
    };
  }

  /** Runs jobs until it is told to end them. */
  async function consumeUntilTold(name: string, concurrency: number) {
    const running = new Map<string, () => void>();
    const { consumer } = await bench.consume(({ id }) => new Promise<void>((end) => running.set(id, end)), {
      name,
      concurrency,
    });
    const endAll = () => {
      for (const end of running.values()) end();
    };
    return { consumer, running, endAll };
  }

  it('fill all slots of a worker, and no more', async () => {
    const jobs = Array.from({ length: 5 }, newJob);
    const { moveTo } = await takeAll(jobs);
    const { consumer: next, running, endAll } = await consumeUntilTold('next', 4);
    const taken: boolean[] = [];
    for (const job of jobs) taken.push(await moveTo(next, job));
    expect(taken).toEqual([true, true, true, true, false]);
    expect(next.active).toBe(4);
    endAll();
    await until(() => running.size === 5);
    endAll();
    await Promise.all(jobs.map((job) => bench.untilGone(job)));
  });

  it('leave to others what waits, also what the worker was about to fetch', async () => {
    const [moved, waiting] = [Array.from({ length: 2 }, newJob), Array.from({ length: 4 }, newJob)];
    const { moveTo } = await takeAll(moved);
    const next = await consumeUntilTold('next', 2);
    for (const job of moved) expect(await moveTo(next.consumer, job)).toBe(true);
    await Promise.all(waiting.map((job) => bench.queue.add(job)));
    const idle = await consumeUntilTold('idle', 4);
    await until(() => idle.running.size === 4);
    expect([...next.running.keys()]).toEqual(moved.map(({ id }) => id));
    next.endAll();
    idle.endAll();
    await Promise.all([...moved, ...waiting].map((job) => bench.untilGone(job)));
  });

  it('make room for what waits when they end', async () => {
    const [moved, own, waiting] = [newJob(), newJob(), newJob()];
    const { moveTo } = await takeAll([moved]);
    const { consumer: next, running, endAll } = await consumeUntilTold('next', 2);
    expect(await moveTo(next, moved)).toBe(true);
    await bench.queue.add(own);
    await until(() => running.has(own.id));
    await bench.queue.add(waiting);
    expect(await bench.queue.counts()).toMatchObject({ waiting: 1, active: 2 });
    running.get(moved.id)?.();
    await until(() => running.has(waiting.id));
    endAll();
    await Promise.all([moved, own, waiting].map((job) => bench.untilGone(job)));
  });
});
