import { type BatonError, ConfigurationError, DependencyError } from '@baton/errors';
import { startTestRedis, type TestServer } from '@baton/testing';
import { Redis } from 'ioredis';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { awaitSnapshotStore } from './open-store.ts';
import { startS3Server } from './s3-test-server.ts';

const limits = { ttlSeconds: 60, quotaBytes: 1e6, totalBytes: 1e6 };
const before = { ...process.env };

let redis: TestServer;
beforeAll(async () => {
  process.env['AWS_ACCESS_KEY_ID'] = 'S3RVER';
  process.env['AWS_SECRET_ACCESS_KEY'] = 'S3RVER';
  redis = await startTestRedis();
});
afterAll(async () => {
  await redis?.stop();
  process.env = before;
});

async function open(url: string) {
  const states: (BatonError | null)[] = [];
  const store = await awaitSnapshotStore(url, limits, { onState: (state) => states.push(state) });
  return { store, states };
}

it('says why until the store is there, and is that from then on', async () => {
  await redis.kill('SIGKILL');
  const { store, states } = await open(redis.url);
  await expect(store.getManifest('t', 's')).rejects.toThrow(DependencyError);
  await expect(store.delete('t', 's')).rejects.toThrow(DependencyError);
  expect(states).toEqual([expect.any(DependencyError)]);
  await redis.restart();
  await expect.poll(() => store.getManifest('t', 's').catch(() => 'away')).toBeNull();
  const manifest = { bytes: new Uint8Array(5), pages: [] };
  expect(await store.putManifest('t', 's', manifest, null)).not.toBeNull();
  expect(states).toEqual([expect.any(DependencyError), null]);
  await store.close();
});

it('waits no more once it is closed', async () => {
  const { store, states } = await open('redis://127.0.0.1:1');
  await store.close();
  await expect(store.getManifest('t', 's')).rejects.toThrow(DependencyError);
  expect(states).toEqual([expect.any(DependencyError)]);
});

it('waits for an S3 server, and not for one that has no such bucket', async () => {
  const server = await startS3Server();
  const [right, wrong] = [server.url('x'), server.url('x').replace('snapshots', 'nothing-here')];
  await expect(open(wrong)).rejects.toThrow('NoSuchBucket');
  await server.stop();
  const { store } = await open(right);
  await expect(store.getManifest('t', 's')).rejects.toThrow(DependencyError);
  await store.close();
});

it('does not wait for a server that refuses the password', async () => {
  const client = new Redis(redis.url);
  await client.config('SET', 'requirepass', 'secret');
  try {
    await expect(open(redis.url.replace('redis://', 'redis://:wrong@'))).rejects.toThrow('WRONGPASS');
    await expect(open(redis.url)).rejects.toThrow('NOAUTH');
  } finally {
    await client.config('SET', 'requirepass', '');
    client.disconnect();
  }
});

it('does not wait where the URL is no store', async () => {
  await expect(open('ftp://somewhere')).rejects.toThrow(ConfigurationError);
});
