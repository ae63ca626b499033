import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { type GenerationJob, queueName, redisPrefix } from '@baton/protocol';
import { Queue } from 'bullmq';
import { Redis } from 'ioredis';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { newJob, TestBench, until } from './test-bench.ts';

let bench: TestBench;
const children: ChildProcess[] = [];
beforeEach(async () => {
  bench = await TestBench.start();
});
afterEach(async () => {
  for (const child of children.splice(0)) child.kill('SIGKILL');
  await bench.stop();
});

/** Starts a consumer in its own process and waits until it has taken `job`. */
async function takeInChild(job: GenerationJob): Promise<ChildProcess> {
  const script = new URL('./test-consumer.ts', import.meta.url).pathname;
  const child = spawn(process.execPath, [script, bench.redis.url], { stdio: ['ignore', 'pipe', 'inherit'] });
  children.push(child);
  const [taken] = await once(child.stdout ?? child, 'data');
  expect(String(taken).trim()).toBe(job.id);
  return child;
}

describe('a worker that dies', () => {
  it('has its job taken up by another', async () => {
    const job = newJob();
    await bench.queue.add(job);
    const child = await takeInChild(job);
    const seen: string[] = [];
    const { givenUp } = await bench.consume(async ({ id }) => {
      seen.push(id);
    });
    expect((await bench.queue.counts()).active).toBe(1);
    child.kill('SIGKILL');
    await bench.untilGone(job);
    expect(seen).toEqual([job.id]);
    expect(givenUp).toEqual([]);
  });

  it('has its job put back at once where somebody says so, and one that lives keeps its own', async () => {
    const [lost, kept] = [newJob(), newJob()];
    await bench.queue.add(lost);
    const child = await takeInChild(lost);
    const { promise: finishing, resolve: finish } = Promise.withResolvers<void>();
    const seen: string[] = [];
    const { consumer } = await bench.consume(
      async ({ id }) => {
        seen.push(id);
        if (id === kept.id) await finishing;
      },
      { name: 'other', concurrency: 2 },
    );
    await bench.queue.add(kept);
    await until(() => consumer.active === 1);
    child.kill('SIGKILL');
    expect(await bench.queue.takeBack('nobody')).toEqual([]);
    expect(await bench.queue.takeBack('test-consumer')).toEqual([lost.id]);
    await bench.untilGone(lost);
    expect(await bench.queue.has(kept.id)).toBe(true);
    finish();
    await bench.untilGone(kept);
    expect(seen.toSorted()).toEqual([lost.id, kept.id].toSorted());
  });
});

describe('a worker that loses a lock and lives', () => {
  it('ends its run before it begins the next one, and keeps the lock of that', async () => {
    const job = newJob();
    const events: string[] = [];
    const { promise: finishing, resolve: finish } = Promise.withResolvers<void>();
    const { consumer } = await bench.consume(async (_, signal) => {
      events.push('begun');
      if (events.length > 1) return finishing;
      await once(signal, 'abort');
      events.push(`stopped, ${consumer.active} running`);
      throw signal.reason;
    });
    await bench.queue.add(job);
    await until(() => events.length === 1);
    const client = new Redis(bench.redis.url);
    const lock = `${redisPrefix}:${queueName}:${job.id}:lock`;
    await client.del(lock);
    await until(() => events.length === 3);
    expect(events).toEqual(['begun', 'stopped, 1 running', 'begun']);
    const token = await client.get(lock);
    let least = Number.POSITIVE_INFINITY;
    await until(async () => {
      const left = await client.pttl(lock);
      if (left > least) return true;
      least = left;
      return false;
    });
    expect(await client.get(lock)).toBe(token);
    client.disconnect();
    finish();
    await bench.untilGone(job);
    expect(events).toHaveLength(3);
  });
});

describe('a job that goes back', () => {
  it('wakes a worker that waits, and goes before all that came earlier', async () => {
    const [lost, waiting] = [newJob(), newJob()];
    await bench.queue.add(lost);
    const child = await takeInChild(lost);
    child.kill('SIGKILL');
    await bench.queue.add(waiting);
    const raw = new Queue(queueName, { connection: { url: bench.redis.url }, prefix: redisPrefix });
    const client = new Redis(bench.redis.url);
    // What a worker that has nothing to do blocks on.
    await client.del(raw.toKey('marker'));
    expect(await bench.queue.takeBack('test-consumer')).toEqual([lost.id]);
    expect(await client.exists(raw.toKey('marker'))).toBe(1);
    client.disconnect();
    await raw.close();
    const seen: string[] = [];
    await bench.consume(
      async ({ id }) => {
        seen.push(id);
      },
      { concurrency: 1 },
    );
    await bench.untilGone(waiting);
    expect(seen).toEqual([lost.id, waiting.id]);
  });
});
