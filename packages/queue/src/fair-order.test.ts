import { fairOrderKey, newId } from '@baton/protocol';
import { exampleJob } from '@baton/protocol/testing';
import { startTestRedis, type TestServer } from '@baton/testing';
import { Redis } from 'ioredis';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { GenerationConsumer } from './generation-consumer.ts';
import { GenerationQueue } from './generation-queue.ts';

let redis: TestServer;
let client: Redis;
let queue: GenerationQueue;
beforeAll(async () => {
  redis = await startTestRedis();
  client = new Redis(redis.url);
});
afterAll(async () => {
  client.disconnect();
  await redis.stop();
});
let consumer: GenerationConsumer | null = null;
let release = () => {};
beforeEach(async () => {
  await client.flushall();
  queue = await GenerationQueue.open(redis.url);
});
afterEach(async () => {
  consumer?.pause();
  release();
  await consumer?.close();
  consumer = null;
  await queue.close();
});

const add = (tenant: string) => queue.add(exampleJob({ id: newId('resp', tenant), tenant }));
const addMany = (tenant: string, count: number) =>
  Promise.all(Array.from({ length: count }, () => add(tenant)));

/** Runs one job after the other, each once it is let; tells whose they were. */
async function consume() {
  const taken: string[] = [];
  let [allowed, more] = [0, () => {}];
  consumer = await GenerationConsumer.start(
    redis.url,
    async ({ tenant }) => {
      const turn = taken.push(tenant);
      more();
      while (allowed < turn) await new Promise<void>((resolve) => wakes.push(resolve));
    },
    { concurrency: 1, onGivenUp: async () => {} },
  );
  const wakes: (() => void)[] = [];
  release = () => {
    allowed = Number.POSITIVE_INFINITY;
    for (const wake of wakes.splice(0)) wake();
  };
  return {
    taken,
    /** Lets the first `count` jobs end, and waits until the one after them runs, or `total` have been taken. */
    async letRun(count: number, total = Number.POSITIVE_INFINITY): Promise<void> {
      allowed = count;
      for (const wake of wakes.splice(0)) wake();
      while (taken.length < Math.min(count + 1, total)) {
        await new Promise<void>((resolve) => {
          more = resolve;
        });
      }
    },
  };
}

describe('the order of the queue', () => {
  it('puts one job of a tenant before all but the running one of another, which has a thousand', async () => {
    await addMany('many', 1000);
    const { taken, letRun } = await consume();
    await letRun(20);
    await add('one');
    await letRun(21);
    expect(taken.slice(20)).toEqual(['many', 'one']);
  });

  it('does so also where both come at the same moment', async () => {
    await Promise.all([addMany('many', 200), add('one'), addMany('many', 200)]);
    const { taken, letRun } = await consume();
    await letRun(2);
    expect(taken).toContain('one');
  });

  it('takes tenants in turn, and the jobs of each as they came', async () => {
    await addMany('a', 4);
    await addMany('b', 3);
    await addMany('c', 1);
    const { taken, letRun } = await consume();
    await letRun(8, 8);
    expect(taken.join('')).toBe('abcababa');
  });

  it('owes a tenant nothing for the time when it asked for nothing', async () => {
    await addMany('a', 10);
    const { taken, letRun } = await consume();
    await letRun(9);
    await addMany('a', 5);
    await addMany('b', 5);
    await letRun(20, 20);
    expect(taken.slice(10).join('')).toBe('bababababa');
  });

  it('says how many go before a new one', async () => {
    await addMany('a', 10);
    expect(await queue.outlook('a')).toMatchObject({ ahead: 10, waiting: 10, active: 0, serviceMs: null });
    expect(await queue.outlook('b')).toMatchObject({ ahead: 1 });
  });

  it('starts to count again before priorities end, once nothing waits', async () => {
    await client.hset(fairOrderKey, { taken: 2 ** 21 - 3, 'tenant:a': 2 ** 21 - 3 });
    const { taken, letRun } = await consume();
    await add('a');
    await letRun(1, 1);
    expect(Number(await client.hget(fairOrderKey, 'tenant:a'))).toBe(1);
    expect(taken).toEqual(['a']);
  });
});

describe("a tenant's places", () => {
  const ids = (count: number) => Array.from({ length: count }, () => newId('resp', 'a'));

  it('are as many as it may have, all or none', async () => {
    expect(await queue.takePlaces('a', ids(2), 3)).toBe(true);
    // Nothing with these ids was added, so they are given up for those that come.
    expect(await queue.takePlaces('a', ids(3), 3)).toBe(true);
    expect(await queue.takePlaces('a', ids(4), 3)).toBe(false);
    expect(await queue.takePlaces('b', ids(3), 3)).toBe(true);
  });

  it('are left by generations that have ended or were removed, and held by those that wait and run', async () => {
    const jobs = ids(3).map((id) => exampleJob({ id, tenant: 'a' }));
    expect(
      await queue.takePlaces(
        'a',
        jobs.map(({ id }) => id),
        3,
      ),
    ).toBe(true);
    await Promise.all(jobs.map((job) => queue.add(job)));
    const { letRun } = await consume();
    await letRun(0);
    expect(await queue.takePlaces('a', ids(1), 3)).toBe(false);
    await letRun(1);
    const [next] = ids(1);
    expect(await queue.takePlaces('a', [String(next)], 3)).toBe(true);
    await queue.add(exampleJob({ id: String(next), tenant: 'a' }));
    expect(await queue.takePlaces('a', ids(1), 3)).toBe(false);
    expect(await queue.remove({ id: String(next), tenant: 'a' })).toBe(true);
    expect(await queue.takePlaces('a', ids(1), 3)).toBe(true);
    expect((await queue.outlook('a')).serviceMs).toBeGreaterThanOrEqual(0);
  });
});
