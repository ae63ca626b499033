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

describeStoreConformance('S3Store', (own) => S3Store.open(server.url('some/folder'), own));

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
