import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { startTestRedis } from '@baton/testing';
import { afterAll, beforeAll, expect, it, onTestFinished } from 'vitest';
import { layout, model } from '../test-support.ts';
import { openSnapshots } from '../thread/threaded-snapshots.ts';
import { openSnapshotStore } from './open-store.ts';
import { startS3Server } from './s3-test-server.ts';

const before = { ...process.env };
beforeAll(() => {
  process.env['AWS_ACCESS_KEY_ID'] = 'S3RVER';
  process.env['AWS_SECRET_ACCESS_KEY'] = 'S3RVER';
});
afterAll(() => {
  process.env = before;
});

const bounds = { quotaBytes: 1e6, totalBytes: 1e6 };
const page = (key: string) => ({ key, bytes: new Uint8Array(100) });
const manifest = (key: string) => ({ bytes: new Uint8Array(50), pages: [{ key, bytes: 100 }] });

it.each([
  [
    'Redis',
    async () => {
      const redis = await startTestRedis();
      return { url: redis.url, stop: () => redis.stop() };
    },
  ],
  [
    'a folder',
    async () => {
      const folder = await mkdtemp(join(tmpdir(), 'baton-collect-'));
      return { url: pathToFileURL(folder).href, stop: () => rm(folder, { recursive: true, maxRetries: 10 }) };
    },
  ],
  [
    'a bucket',
    async () => {
      const server = await startS3Server();
      return { url: server.url('some/folder'), stop: () => server.stop() };
    },
  ],
])('%s is cleared of what is too old or was deleted by workers that store nothing', async (_, start) => {
  const { url, stop } = await start();
  onTestFinished(stop);
  const store = await openSnapshotStore(url, { ...bounds, ttlSeconds: 3600 });
  await store.putPages('t', [page('old'), page('deleted')]);
  await store.putManifest('t', 'old', manifest('old'), null);
  await store.putManifest('t', 'deleted', manifest('deleted'), null);
  await store.delete('t', 'deleted');
  const settings = {
    storeUrl: url,
    limits: { ...bounds, ttlSeconds: 0.5, unnamedSeconds: 0.5 },
    layout,
    model,
  };
  const workers = await Promise.all([0, 1].map(() => openSnapshots({ ...settings, tier: 'exact' })));
  await expect.poll(() => store.usage('t')).toEqual({ bytes: 0, sessions: 0 });
  await expect.poll(() => store.getPages('t', ['old', 'deleted'])).toEqual([null, null]);
  await Promise.all(workers.map((worker) => worker.close()));
  await store.close();
});
