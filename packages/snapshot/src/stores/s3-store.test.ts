import { PutObjectCommand, S3Client } from '@aws-sdk/client-s3';
import { ConfigurationError, DependencyError } from '@baton/errors';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { S3Store } from './s3-store.ts';
import { type S3TestServer, startS3Server } from './s3-test-server.ts';
import { describeStoreConformance } from './store-conformance.ts';

const limits = { ttlSeconds: 60, quotaBytes: 1e6, totalBytes: 1e6 };
const before = { ...process.env };

let server: S3TestServer;
beforeAll(async () => {
  process.env['AWS_ACCESS_KEY_ID'] = 'S3RVER';
  process.env['AWS_SECRET_ACCESS_KEY'] = 'S3RVER';
  server = await startS3Server();
});
afterAll(async () => {
  await server?.stop();
  process.env = before;
});

describeStoreConformance('S3Store', (own) => S3Store.open(server.url('some/folder of ours'), own));

it('refuses a server that ignores conditions', async () => {
  const careless = await startS3Server({ conditions: false });
  await expect(S3Store.open(careless.url(''), limits)).rejects.toThrow(ConfigurationError);
  await careless.stop();
});

it('does not ask again for pages that it put or found lately', async () => {
  const store = await S3Store.open(server.url('asked'), limits);
  const other = await S3Store.open(server.url('asked'), limits);
  const pages = [1, 2, 3].map((n) => ({ key: `page-${n}`, bytes: new Uint8Array(n) }));
  const keys = pages.map(({ key }) => key);
  await store.putPages('t', pages);
  const heads = () => server.requests.filter((request) => request.startsWith('HEAD')).length;
  const before = heads();
  expect(await store.missing('t', keys)).toEqual(new Set());
  const manifest = { bytes: new Uint8Array(5), pages: pages.map(({ key }) => ({ key, bytes: 1 })) };
  expect(await store.putManifest('t', 's', manifest, null)).not.toBeNull();
  expect(heads()).toBe(before);
  for (let round = 0; round < 2; round++) expect(await other.missing('t', keys)).toEqual(new Set());
  expect(heads()).toBe(before + keys.length);
  // What somebody else took away is found out by whoever reads it.
  await store.removePages('t', keys);
  expect(await other.getPages('t', keys)).toEqual([null, null, null]);
  expect(await other.missing('t', keys)).toEqual(new Set(keys));
  await Promise.all([store.close(), other.close()]);
});

it('writes nothing where it only looks for pages', async () => {
  const store = await S3Store.open(server.url('looked'), { ...limits, unnamedSeconds: 0.01 });
  await store.putPages('t', [{ key: 'page', bytes: new Uint8Array(1) }]);
  const writes = () => server.requests.filter((request) => !/^(HEAD|GET)/.test(request)).length;
  const before = writes();
  expect(await store.missing('t', ['page', 'none'], { refresh: false })).toEqual(new Set(['none']));
  expect(writes()).toBe(before);
  await store.close();
});

it('leaves a collection to whichever of those who share a bucket comes first', async () => {
  const prefix = server.url('shared');
  const stores = await Promise.all([0, 1, 2].map(() => S3Store.open(prefix, limits)));
  for (const store of stores) await store.collect();
  const lists = server.requests.filter((request) => request === 'PUT /snapshots/shared/collected');
  expect(lists).toHaveLength(1);
  await Promise.all(stores.map((store) => store.close()));
});

it.each([
  ['before it is removed: leaves it', /(HEAD|DELETE) .*wanted/],
  ['while it is removed: finds it missing before a manifest names it', /DELETE .*wanted/],
])('collects a page that somebody asks for %s', async (when, moment) => {
  const prefix = when.slice(0, 6).trim();
  const hasty = { ...limits, unnamedSeconds: 2 };
  const [collecting, asking] = await Promise.all([0, 1].map(() => S3Store.open(server.url(prefix), hasty)));
  if (!collecting || !asking) throw new Error('there are two');
  const pages = [{ key: 'wanted', bytes: new Uint8Array(1) }];
  const manifest = { bytes: new Uint8Array(5), pages: [{ key: 'wanted', bytes: 1 }] };
  await collecting.putPages('t', pages);
  await new Promise((resolve) => setTimeout(resolve, 2100));
  const asked = new Promise<Set<string>>((resolve, reject) => {
    server.before = async (request) => {
      if (!moment.test(request)) return;
      server.before = async () => {};
      await asking.missing('t', ['wanted']).then(resolve, reject);
    };
  });
  await collecting.collect();
  expect(await asked).toEqual(new Set());
  const isRemoved = when.startsWith('while');
  if (isRemoved) {
    await expect.poll(() => collecting.getPages('t', ['wanted'])).toEqual([null]);
    await expect(asking.putManifest('t', 's', manifest, null)).rejects.toThrow(/page/);
    expect(await asking.missing('t', ['wanted'])).toEqual(new Set(['wanted']));
    await asking.putPages('t', pages);
  }
  expect(await asking.putManifest('t', 's', manifest, null)).not.toBeNull();
  expect(await asking.getPages('t', ['wanted'])).not.toEqual([null]);
  const deleted = server.requests.filter(
    (request) => request === `DELETE /snapshots/${prefix}/pages/t/wanted`,
  );
  expect(deleted).toHaveLength(isRemoved ? 1 : 0);
  await Promise.all([collecting.close(), asking.close()]);
});

it('says that the server is away, or the bucket not there', async () => {
  const own = await startS3Server();
  const store = await S3Store.open(own.url('x'), limits);
  await own.stop();
  await expect(store.getManifest('t', 's')).rejects.toThrow(DependencyError);
  await store.close();
  const other = server.url('x').replace('snapshots', 'nothing-here');
  await expect(S3Store.open(other, limits)).rejects.toThrow(DependencyError);
});

it('refuses what it keeps of a session where that is damaged, until it is deleted', async () => {
  const url = server.url('hurt');
  const store = await S3Store.open(url, limits);
  const page = { key: 'page', bytes: new Uint8Array(3) };
  await store.putPages('t', [page]);
  const manifest = { bytes: new Uint8Array(5), pages: [{ key: 'page', bytes: 3 }] };
  await store.putManifest('t', 's', manifest, null);
  const endpoint = String(new URL(url).searchParams.get('endpoint'));
  const client = new S3Client({ endpoint, forcePathStyle: true, region: 'us-east-1' });
  const object = { Bucket: new URL(url).hostname, Key: 'hurt/sessions/t/s' };
  await client.send(new PutObjectCommand({ ...object, Body: 'half a li' }));
  client.destroy();
  await expect(store.getManifest('t', 's')).rejects.toMatchObject({ reason: 'corrupted' });
  await store.delete('t', 's');
  expect(await store.getManifest('t', 's')).toBeNull();
  expect(await store.putManifest('t', 's', manifest, null)).not.toBeNull();
  await store.close();
});
