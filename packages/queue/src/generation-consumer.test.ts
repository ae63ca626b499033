import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  type BatonError,
  DependencyError,
  FencedError,
  MessageError,
  OverloadedError,
  RequestError,
} from '@baton/errors';
import { type GenerationJob, newId, queueName, redisPrefix } from '@baton/protocol';
import { exampleJob } from '@baton/protocol/testing';
import { startTestRedis, type TestServer } from '@baton/testing';
import { Queue } from 'bullmq';
import { Redis } from 'ioredis';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type ConsumerOptions, GenerationConsumer, type GenerationHandler } from './generation-consumer.ts';
import { GenerationQueue } from './generation-queue.ts';
import { HandedOver } from './handed-over.ts';

let redis: TestServer;
let queue: GenerationQueue;
const consumers: GenerationConsumer[] = [];
const children: ChildProcess[] = [];
beforeAll(async () => {
  redis = await startTestRedis();
});
afterAll(() => redis.stop());
beforeEach(async () => {
  const client = new Redis(redis.url);
  await client.flushall();
  client.disconnect();
  queue = await GenerationQueue.open(redis.url);
});
afterEach(async () => {
  for (const child of children.splice(0)) child.kill('SIGKILL');
  await Promise.all(consumers.splice(0).map((consumer) => consumer.close()));
  await queue.close();
});

const newJob = () => exampleJob({ id: newId('resp', 'default') });

interface GivenUp {
  id: string;
  error: BatonError;
  job: GenerationJob | null;
}

/** A consumer whose given-up jobs are collected. */
async function consume(handler: GenerationHandler, overrides: Partial<ConsumerOptions> = {}) {
  const givenUp: GivenUp[] = [];
  const consumer = await GenerationConsumer.start(redis.url, handler, {
    concurrency: 4,
    onGivenUp: async (id, error, job) => {
      givenUp.push({ id, error, job });
    },
    ...overrides,
  });
  consumers.push(consumer);
  return { consumer, givenUp };
}

/** Waits without a bound of its own: the test's timeout is the bound. */
async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await condition())) await new Promise((resolve) => setTimeout(resolve, 10));
}

const untilGone = (job: GenerationJob) => until(async () => !(await queue.has(job.id)));

/** Starts a consumer in its own process and waits until it has taken `job`. */
async function takeInChild(job: GenerationJob): Promise<ChildProcess> {
  const script = new URL('./test-consumer.ts', import.meta.url).pathname;
  const child = spawn(process.execPath, [script, redis.url], { stdio: ['ignore', 'pipe', 'inherit'] });
  children.push(child);
  const [taken] = await once(child.stdout ?? child, 'data');
  expect(String(taken).trim()).toBe(job.id);
  return child;
}

describe('GenerationConsumer', () => {
  it('runs jobs side by side and forgets them when they are done', async () => {
    const jobs = Array.from({ length: 12 }, newJob);
    const seen: GenerationJob[] = [];
    let most = 0;
    const { consumer } = await consume(async (job) => {
      most = Math.max(most, consumer.active);
      await new Promise((resolve) => setImmediate(resolve));
      seen.push(job);
    });
    await Promise.all(jobs.map((job) => queue.add(job)));
    await Promise.all(jobs.map(untilGone));
    expect(seen.toSorted((a, b) => a.id.localeCompare(b.id))).toEqual(
      jobs.toSorted((a, b) => a.id.localeCompare(b.id)),
    );
    expect(most).toBeGreaterThan(1);
    expect(most).toBeLessThanOrEqual(4);
    expect(await queue.counts()).toEqual({ waiting: 0, active: 0, failed: 0 });
  });

  it('runs a job that was added again after it was done', async () => {
    const job = newJob();
    let runs = 0;
    await consume(async () => {
      runs++;
    });
    for (const expected of [1, 2]) {
      await queue.add(job);
      await until(() => runs === expected);
      await untilGone(job);
    }
  });

  it.each([
    ['another attempt may help', new DependencyError('nats', 'away')],
    ['there is no room now', new OverloadedError('overloaded', 'full', 100)],
  ])('puts a job back while %s', async (_, error) => {
    const job = newJob();
    let attempts = 0;
    const { givenUp } = await consume(async () => {
      if (++attempts < 3) throw error;
    });
    await queue.add(job);
    await untilGone(job);
    expect(attempts).toBe(3);
    expect(givenUp).toEqual([]);
  });

  it.each([
    ['an error of Baton', new RequestError('invalid_value', 'no', 'top_p'), 'invalid_value'],
    ['an error of anybody else', new Error('boom'), 'server_error'],
  ])('gives a job up that can never succeed: %s', async (_, error, code) => {
    const job = newJob();
    let attempts = 0;
    const { givenUp } = await consume(async () => {
      attempts++;
      throw error;
    });
    await queue.add(job);
    await untilGone(job);
    expect(attempts).toBe(1);
    expect(givenUp).toMatchObject([{ id: job.id, job, error: { code } }]);
  });

  it('forgets a job whose generation another worker owns', async () => {
    const job = newJob();
    const { givenUp } = await consume(async ({ id }) => {
      throw new FencedError(id, 1);
    });
    await queue.add(job);
    await untilGone(job);
    expect(givenUp).toEqual([]);
  });

  it('keeps a job that could not be given up yet', async () => {
    const job = newJob();
    let attempts = 0;
    await consume(
      async () => {
        throw new Error('boom');
      },
      {
        onGivenUp: async () => {
          if (++attempts === 1) throw new DependencyError('nats', 'away');
        },
      },
    );
    await queue.add(job);
    await untilGone(job);
    expect(attempts).toBe(2);
  });

  it('refuses a payload that does not parse, by name, and keeps it to be looked at', async () => {
    const raw = new Queue(queueName, { connection: { url: redis.url }, prefix: redisPrefix });
    const { id } = newJob();
    await raw.add('generation', { v: 1, id, colour: 'red' }, { jobId: id });
    let ran = false;
    const { givenUp } = await consume(async () => {
      ran = true;
    });
    await until(async () => (await queue.counts()).failed === 1);
    expect(ran).toBe(false);
    expect(givenUp).toMatchObject([{ id, job: null }]);
    expect(givenUp[0]?.error).toBeInstanceOf(MessageError);
    expect(givenUp[0]?.error.message).toContain(id);
    expect((await raw.getJob(id))?.failedReason).toContain('colour');
    await raw.close();
  });

  it('starts nothing new while paused', async () => {
    const started: string[] = [];
    const { consumer } = await consume(async ({ id }) => {
      started.push(id);
    });
    consumer.pause();
    const job = newJob();
    await queue.add(job);
    const { consumer: other } = await consume(async ({ id }) => {
      started.push(`other ${id}`);
    });
    await untilGone(job);
    expect(started).toEqual([`other ${job.id}`]);
    other.pause();
    const later = newJob();
    await queue.add(later);
    consumer.resume();
    await untilGone(later);
    expect(started).toEqual([`other ${job.id}`, later.id]);
  });
});

describe('close', () => {
  it('lets a running job finish within the grace', async () => {
    const job = newJob();
    const { promise: finishing, resolve: finish } = Promise.withResolvers<void>();
    const { consumer } = await consume(() => finishing);
    await queue.add(job);
    await until(() => consumer.active === 1);
    expect(await queue.remove(job)).toBe(false);
    const closing = consumer.close(60_000);
    finish();
    await closing;
    expect(await queue.has(job.id)).toBe(false);
  });

  it('hands a running job back to the front of the queue', async () => {
    const [running, waiting] = [newJob(), newJob()];
    const { consumer } = await consume(
      (_, signal) =>
        new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason))),
      { concurrency: 1 },
    );
    await queue.add(running);
    await until(() => consumer.active === 1);
    await queue.add(waiting);
    await consumer.close();
    expect(await queue.counts()).toEqual({ waiting: 2, active: 0, failed: 0 });

    const order: string[] = [];
    await consume(
      async ({ id }) => {
        order.push(id);
      },
      { concurrency: 1 },
    );
    await untilGone(waiting);
    expect(order).toEqual([running.id, waiting.id]);
  });
});

describe('a job that is handed over', () => {
  /** Has `former` take a job and hand it over to `next`, which runs `handler`. */
  async function handOver(job: GenerationJob, handler: GenerationHandler): Promise<void> {
    const { promise: target, resolve: provide } = Promise.withResolvers<GenerationConsumer>();
    const { promise: accepted, resolve: answer } = Promise.withResolvers<boolean>();
    const { consumer: former } = await consume(
      async ({ id }) => {
        const next = await target;
        throw new HandedOver(async (lockToken) => {
          const taken = await next.adopt(id, lockToken);
          answer(taken);
          return taken;
        });
      },
      { name: 'former', concurrency: 1 },
    );
    await queue.add(job);
    await until(() => former.active === 1);
    former.pause();
    const { consumer: next } = await consume(handler, { name: 'next' });
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
    expect(await queue.takeBack('former')).toEqual([]);
    finish();
    await untilGone(job);
    expect(seen).toEqual([job.id]);
  });

  it('is taken back when the one that has it is lost', async () => {
    const job = newJob();
    let runs = 0;
    await handOver(job, async () => {
      if (++runs === 1) await new Promise(() => {});
    });
    expect(await queue.takeBack('next')).toEqual([job.id]);
    await until(() => runs === 2);
  });
});

describe('jobs that are handed over one after another', () => {
  /** Has a former owner take `jobs`, which then hands each over when `moveTo` is called. */
  async function takeAll(jobs: readonly GenerationJob[]) {
    const targets = new Map<string, (consumer: GenerationConsumer) => void>();
    const answers = new Map<string, (taken: boolean) => void>();
    const { consumer: former } = await consume(
      async ({ id }) => {
        const next = await new Promise<GenerationConsumer>((resolve) => targets.set(id, resolve));
        throw new HandedOver(async (lockToken) => {
          const taken = await next.adopt(id, lockToken);
          answers.get(id)?.(taken);
          return taken;
        });
      },
      { name: 'former', concurrency: jobs.length },
    );
    await Promise.all(jobs.map((job) => queue.add(job)));
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
    const { consumer } = await consume(({ id }) => new Promise<void>((end) => running.set(id, end)), {
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
    await Promise.all(jobs.map(untilGone));
  });

  it('leave to others what waits, also what the worker was about to fetch', async () => {
    const [moved, waiting] = [Array.from({ length: 2 }, newJob), Array.from({ length: 4 }, newJob)];
    const { moveTo } = await takeAll(moved);
    const next = await consumeUntilTold('next', 2);
    for (const job of moved) expect(await moveTo(next.consumer, job)).toBe(true);
    await Promise.all(waiting.map((job) => queue.add(job)));
    const idle = await consumeUntilTold('idle', 4);
    await until(() => idle.running.size === 4);
    expect([...next.running.keys()]).toEqual(moved.map(({ id }) => id));
    next.endAll();
    idle.endAll();
    await Promise.all([...moved, ...waiting].map(untilGone));
  });

  it('make room for what waits when they end', async () => {
    const [moved, own, waiting] = [newJob(), newJob(), newJob()];
    const { moveTo } = await takeAll([moved]);
    const { consumer: next, running, endAll } = await consumeUntilTold('next', 2);
    expect(await moveTo(next, moved)).toBe(true);
    await queue.add(own);
    await until(() => running.has(own.id));
    await queue.add(waiting);
    expect(await queue.counts()).toMatchObject({ waiting: 1, active: 2 });
    running.get(moved.id)?.();
    await until(() => running.has(waiting.id));
    endAll();
    await Promise.all([moved, own, waiting].map(untilGone));
  });
});

describe('a worker that dies', () => {
  it('has its job taken up by another', async () => {
    const job = newJob();
    await queue.add(job);
    const child = await takeInChild(job);
    const seen: string[] = [];
    const { givenUp } = await consume(async ({ id }) => {
      seen.push(id);
    });
    expect((await queue.counts()).active).toBe(1);
    child.kill('SIGKILL');
    await untilGone(job);
    expect(seen).toEqual([job.id]);
    expect(givenUp).toEqual([]);
  });

  it('has its job put back at once where somebody says so, and one that lives keeps its own', async () => {
    const [lost, kept] = [newJob(), newJob()];
    await queue.add(lost);
    const child = await takeInChild(lost);
    const { promise: finishing, resolve: finish } = Promise.withResolvers<void>();
    const seen: string[] = [];
    const { consumer } = await consume(
      async ({ id }) => {
        seen.push(id);
        if (id === kept.id) await finishing;
      },
      { name: 'other', concurrency: 2 },
    );
    await queue.add(kept);
    await until(() => consumer.active === 1);
    child.kill('SIGKILL');
    expect(await queue.takeBack('nobody')).toEqual([]);
    expect(await queue.takeBack('test-consumer')).toEqual([lost.id]);
    await untilGone(lost);
    expect(await queue.has(kept.id)).toBe(true);
    finish();
    await untilGone(kept);
    expect(seen.toSorted()).toEqual([lost.id, kept.id].toSorted());
  });
});

describe('a job that goes back', () => {
  it('wakes a worker that waits, and goes before all that came earlier', async () => {
    const [lost, waiting] = [newJob(), newJob()];
    await queue.add(lost);
    const child = await takeInChild(lost);
    child.kill('SIGKILL');
    await queue.add(waiting);
    const raw = new Queue(queueName, { connection: { url: redis.url }, prefix: redisPrefix });
    const client = new Redis(redis.url);
    // What a worker that has nothing to do blocks on.
    await client.del(raw.toKey('marker'));
    expect(await queue.takeBack('test-consumer')).toEqual([lost.id]);
    expect(await client.exists(raw.toKey('marker'))).toBe(1);
    client.disconnect();
    await raw.close();
    const seen: string[] = [];
    await consume(
      async ({ id }) => {
        seen.push(id);
      },
      { concurrency: 1 },
    );
    await untilGone(waiting);
    expect(seen).toEqual([lost.id, waiting.id]);
  });
});

describe('Redis that restarts with its data', () => {
  it('keeps jobs waiting and running, and is reported once', async () => {
    const jobs = Array.from({ length: 6 }, newJob);
    const finished: string[] = [];
    const errors: BatonError[] = [];
    const { promise: restarted, resolve: goOn } = Promise.withResolvers<void>();
    const { consumer, givenUp } = await consume(
      async ({ id }) => {
        await restarted;
        finished.push(id);
      },
      { concurrency: 2, onError: (error) => errors.push(error) },
    );
    await Promise.all(jobs.map((job) => queue.add(job)));
    await until(() => consumer.active === 2);
    await redis.restart();
    goOn();
    await until(async () => {
      const left = await queue.counts().catch(() => null);
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
