import { DependencyError } from '@baton/errors';
import { snapshotKeys, snapshotTenants } from '@baton/protocol';
import { startTestRedis, type TestServer } from '@baton/testing';
import { Redis } from 'ioredis';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { RedisStore } from './redis-store.ts';
import { describeStoreConformance } from './store-conformance.ts';

let redis: TestServer;
beforeAll(async () => {
  redis = await startTestRedis();
});
afterAll(() => redis?.stop());

describeStoreConformance('RedisStore', (limits) => RedisStore.open(redis.url, limits));

it('says soon that Redis is away, and is there again when Redis is', async () => {
  const own = await startTestRedis();
  const store = await RedisStore.open(own.url, { ttlSeconds: 60, quotaBytes: 1e6, totalBytes: 1e6 });
  await own.kill('SIGKILL');
  await expect(store.getManifest('t', 's')).rejects.toThrow(DependencyError);
  await expect(store.putPages('t', [{ key: 'k', bytes: new Uint8Array(3) }])).rejects.toThrow(
    DependencyError,
  );
  await own.restart();
  await expect.poll(() => store.getManifest('t', 's').catch(() => 'away'), { timeout: 5000 }).toBeNull();
  await store.close();
  await own.stop();
});

it('counts no session that Redis itself has evicted', async () => {
  const own = await startTestRedis();
  const client = new Redis(own.url);
  const limits = { ttlSeconds: 3600, quotaBytes: 1000, totalBytes: 1e6 };
  const store = await RedisStore.open(own.url, limits);
  const put = (session: string) =>
    store.putManifest('t', session, { bytes: new Uint8Array(400), pages: [] }, null);
  await put('a');
  await put('b');
  await client.del(snapshotKeys('t').session('a'));
  // Stored anew.
  await put('a');
  expect(await store.usage('t')).toEqual({ bytes: 800, sessions: 2 });
  await client.del(snapshotKeys('t').session('a'), snapshotKeys('t').session('b'));
  // Beyond the quota, as far as is known.
  await put('c');
  expect((await store.usage('t')).bytes).toBe(400);
  for (const session of ['a', 'b', 'c']) await store.delete('t', session);
  expect(await store.usage('t')).toEqual({ bytes: 0, sessions: 0 });
  expect(await client.exists(snapshotTenants)).toBe(0);
  client.disconnect();
  await store.close();
  await own.stop();
});
