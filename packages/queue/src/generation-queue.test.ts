import { DependencyError, MessageError } from '@baton/errors';
import { newId } from '@baton/protocol';
import { exampleJob } from '@baton/protocol/testing';
import { startTestRedis, type TestServer } from '@baton/testing';
import { Redis } from 'ioredis';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { GenerationQueue } from './generation-queue.ts';

let redis: TestServer;
let queue: GenerationQueue;
const outages: DependencyError[] = [];
beforeAll(async () => {
  redis = await startTestRedis();
  queue = await GenerationQueue.open(redis.url, { onError: (error) => outages.push(error) });
});
afterAll(async () => {
  await queue.close();
  await redis.stop();
});

const newJob = () => exampleJob({ id: newId('resp', 'default') });

describe('GenerationQueue', () => {
  it('adds a job once, and knows, counts and removes it', async () => {
    const job = newJob();
    expect(await queue.has(job.id)).toBe(false);
    await queue.add(job);
    await queue.add(job);
    expect(await queue.has(job.id)).toBe(true);
    expect(await queue.counts()).toEqual({ waiting: 1, active: 0, failed: 0 });
    expect(await queue.remove(job)).toBe(true);
    expect(await queue.has(job.id)).toBe(false);
    expect((await queue.counts()).waiting).toBe(0);
  });

  it('keeps its keys under the prefix', async () => {
    await queue.add(newJob());
    const client = new Redis(redis.url);
    const keys = await client.keys('*');
    expect(keys.length).toBeGreaterThan(0);
    expect(keys.filter((key) => !key.startsWith('baton:generations:'))).toEqual([]);
    await client.quit();
  });

  it('refuses a job that no worker could parse', async () => {
    const broken = { ...newJob(), prompt: [] };
    await expect(queue.add(broken)).rejects.toThrow(MessageError);
    await expect(queue.add(broken)).rejects.toThrow('prompt');
    expect(await queue.has(broken.id)).toBe(false);
  });

  it('fails at once while Redis is away, reports the outage once, and comes back by itself', async () => {
    const [kept, refused] = [newJob(), newJob()];
    await queue.add(kept);
    // Long enough for the append-only file to be written.
    const client = new Redis(redis.url);
    while (!/aof_pending_bio_fsync:0/.test(await client.info('persistence')));
    client.disconnect();
    await redis.kill('SIGKILL');
    await expect(queue.add(refused)).rejects.toThrow(DependencyError);
    await expect(queue.counts()).rejects.toThrow(`Redis at 127.0.0.1:${redis.port} does not answer`);
    while (outages.length === 0) await new Promise((resolve) => setTimeout(resolve, 10));
    await redis.restart();
    for (;;) {
      try {
        if (await queue.has(kept.id)) break;
        throw new Error('the job is gone');
      } catch (error) {
        if (!(error instanceof DependencyError)) throw error;
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    }
    expect(await queue.has(refused.id)).toBe(false);
    expect(outages).toHaveLength(1);
    expect(outages[0]).toMatchObject({ dependency: 'redis', retryable: true });
  });

  it('stays in the database that its URL names, and fails where there is none', async () => {
    await expect(GenerationQueue.open(`${redis.url}/99`)).rejects.toMatchObject({
      name: 'ConfigurationError',
      message: expect.stringMatching(
        /^Redis at 127.0.0.1:\d+ refuses the database that its URL names: .*out of range/,
      ),
    });
    const other = await GenerationQueue.open(`${redis.url}/1`);
    await queue.add(newJob());
    expect((await other.counts()).waiting).toBe(0);
    await other.close();
  });

  it('names the server that does not answer, without its password', async () => {
    const opening = GenerationQueue.open('redis://user:secret@127.0.0.1:9');
    await expect(opening).rejects.toThrow(DependencyError);
    await expect(opening).rejects.toThrow('Redis at 127.0.0.1:9 does not answer');
    await expect(opening).rejects.not.toThrow('secret');
  });
});
