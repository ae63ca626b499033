import { DependencyError } from '@baton/errors';
import { startTestRedis, type TestServer } from '@baton/testing';
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
