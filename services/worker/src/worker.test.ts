import { ScriptedEngine } from '@baton/engine/testing';
import { commandWorker } from '@baton/fleet';
import { newId, queueName, redisPrefix } from '@baton/protocol';
import { exampleJob } from '@baton/protocol/testing';
import { connectRedis, RedisHealth } from '@baton/redis';
import { RecordedMetrics } from '@baton/telemetry/testing';
import { startTestRedis } from '@baton/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { TestFleet } from './test-fleet.ts';

const metrics = new RecordedMetrics();

let fleet: TestFleet;
beforeEach(async () => {
  fleet = await TestFleet.start();
});
afterEach(() => fleet.stop());

describe('a worker that is started again under its name', () => {
  it('claims as another process', async () => {
    const [id = ''] = await fleet.addJobs(1);
    const processes: unknown[] = [];
    for (const epoch of [1, 2]) {
      const worker = await fleet.startWorker('same', new ScriptedEngine({ stepMs: 20 }));
      await expect.poll(async () => (await fleet.log.read(id))?.epoch).toBe(epoch);
      processes.push((await fleet.log.read(id))?.lastClaim?.process);
      await fleet.stopWorker(worker);
    }
    expect(processes).toEqual([expect.any(String), expect.any(String)]);
    expect(processes[0]).not.toBe(processes[1]);
  });
});

describe('a worker that keeps the state of a turn in memory', () => {
  it('goes on from it, and forgets it on command', async () => {
    const { log, queue } = fleet;
    const first = exampleJob({ id: newId('resp', 'default'), continuable: true });
    await queue.add(first);
    await fleet.startWorker('keeping', new ScriptedEngine());
    const ended = async (id: string) => {
      await expect.poll(async () => (await log.read(id))?.terminal?.kind).toBe('finish');
      return log.read(id);
    };
    const tokens = [...first.prompt, ...((await ended(first.id))?.tokens ?? [])];
    const cachedNext = async () => {
      // So that there is none but that in memory.
      const store = await fleet.openStore();
      await store.delete(first.tenant, first.id);
      await store.close();
      const parent = { id: first.id, tokens: tokens.length };
      const next = exampleJob({ id: newId('resp', 'default'), prompt: [...tokens, 65, 66], parent });
      await queue.add(next);
      return (await ended(next.id))?.cachedTokens;
    };
    expect(await cachedNext()).toBeGreaterThan(0);
    const command = { v: 1, kind: 'forget', tenant: first.tenant, generation: first.id } as const;
    expect(await commandWorker(log.connection, 'keeping', command)).toMatchObject({ done: true });
    expect(await cachedNext()).toBe(0);
  });
});

describe('a worker that cannot read a job', () => {
  it('ends its generation, counts it, and leaves no state of what owners of before had stored', async () => {
    const store = await fleet.openStore();
    const job = exampleJob({ id: newId('resp', 'default') });
    await fleet.log.appendQueued(job);
    await store.putManifest(job.tenant, job.id, { bytes: new Uint8Array(8), pages: [] }, null);
    await fleet.queue.add(job);
    const { url } = fleet.servers.redis;
    const redis = await connectRedis(url, new RedisHealth(url, () => {}), {});
    const unreadable = JSON.stringify({ ...job, prompt: 'unreadable' });
    await redis.hset(`${redisPrefix}:${queueName}:${job.id}`, 'data', unreadable);
    redis.disconnect();
    await fleet.startWorker('reader', new ScriptedEngine());
    const subscription = await fleet.log.subscribe(job.id);
    for await (const _ of subscription.entries());
    expect(subscription.state.terminal).toMatchObject({ kind: 'error', code: 'invalid_message' });
    const counted = () => metrics.counted('baton.generations');
    await expect.poll(counted, { timeout: 10_000 }).toMatchObject({ invalid_message: 1 });
    await expect.poll(() => store.getManifest(job.tenant, job.id)).toBeNull();
    await store.close();
  });
});

describe('a worker whose snapshot store is away', () => {
  it('begins without it, and stores states once it is there', async () => {
    const store = await startTestRedis();
    await store.kill('SIGKILL');
    const engine = new ScriptedEngine({ stepMs: 20 });
    const worker = await fleet.startWorker('alone', engine, { storeUrl: store.url });
    await fleet.addJobs(1);
    await expect.poll(() => worker.active).toBe(1);
    await store.restart();
    const snapshots = await fleet.openStore(store.url);
    await expect.poll(async () => (await snapshots.usage('default')).sessions).toBe(1);
    await snapshots.close();
    await fleet.stopWorker(worker);
    await store.stop();
  });
});
