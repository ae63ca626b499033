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

it('keeps all tenants below the memory bound, the largest giving way', async () => {
  const limits = { ttlSeconds: 3600, quotaBytes: 1e6, totalBytes: 6000 };
  const own = await startTestRedis();
  const store = await RedisStore.open(own.url, limits);
  const put = async (tenant: string, session: string, size: number) => {
    const page = { key: `${tenant}${session}`, bytes: new Uint8Array(size) };
    await store.putPages(tenant, [page]);
    await store.putManifest(
      tenant,
      session,
      { bytes: new Uint8Array(0), pages: [{ key: page.key, bytes: size }] },
      null,
    );
  };
  await put('large', 'a', 2000);
  await put('large', 'b', 2000);
  await put('small', 'a', 1500);
  await put('small', 'b', 1000);
  expect(await store.getManifest('large', 'a')).toBeNull();
  expect(await store.getManifest('large', 'b')).not.toBeNull();
  expect(await store.usage('small')).toEqual({ bytes: 2500, sessions: 2 });
  await store.close();
  await own.stop();
});

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
