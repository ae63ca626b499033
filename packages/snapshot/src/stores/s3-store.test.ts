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

it('says that the server is away, or the bucket not there', async () => {
  const own = await startS3Server();
  const store = await S3Store.open(own.url('x'), limits);
  await own.stop();
  await expect(store.getManifest('t', 's')).rejects.toThrow(DependencyError);
  await store.close();
  const other = server.url('x').replace('snapshots', 'nothing-here');
  await expect(S3Store.open(other, limits)).rejects.toThrow(DependencyError);
});
