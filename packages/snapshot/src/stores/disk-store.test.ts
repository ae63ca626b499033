import { mkdtemp, readdir, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { DiskStore } from './disk-store.ts';
import { describeStoreConformance } from './store-conformance.ts';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'baton-store-'));
});
afterAll(() => rm(folder, { recursive: true }));

describeStoreConformance('DiskStore', async (limits) => new DiskStore(folder, limits));

const limits = { ttlSeconds: 3600, quotaBytes: 1e9, totalBytes: 1e9 };
const pageOf = (key: string) => ({ key, bytes: new Uint8Array(100) });
const manifestOf = (...keys: string[]) => ({
  bytes: Buffer.from(keys.join(' ')),
  pages: keys.map((key) => ({ key, bytes: 100 })),
});

it('keeps no page that only a replaced or deleted manifest named, but for those asked for since', async () => {
  const [store, other] = [new DiskStore(folder, limits), new DiskStore(folder, limits)];
  const pages = async () => (await readdir(join(folder, 'replaced', 'pages'))).sort();
  await store.putPages('replaced', [pageOf('shared'), pageOf('wanted'), pageOf('of-another')]);
  await store.putManifest('replaced', 'another', manifestOf('of-another'), null);
  let version = await store.putManifest('replaced', 's', manifestOf('shared', 'wanted', 'of-another'), null);
  // File times are told apart to the millisecond.
  await new Promise((resolve) => setTimeout(resolve, 20));
  expect(await other.missing('replaced', ['wanted'])).toEqual(new Set());
  for (let round = 0; round < 20; round++) {
    await store.putPages('replaced', [pageOf(`own-${round}`)]);
    version = await store.putManifest('replaced', 's', manifestOf('shared', `own-${round}`), version);
  }
  expect(await pages()).toEqual(['of-another', 'own-19', 'shared', 'wanted']);
  await store.delete('replaced', 's');
  expect(await pages()).toEqual(['of-another', 'wanted']);
  await store.close();
});

it('changes nothing of a page that it only looks for', async () => {
  const hour = new Date(Date.now() - 3_600_000);
  const store = new DiskStore(folder, limits);
  await store.putPages('looked', [pageOf('page')]);
  const file = join(folder, 'looked', 'pages', 'page');
  await utimes(file, hour, hour);
  expect(await store.missing('looked', ['page', 'none'], { refresh: false })).toEqual(new Set(['none']));
  expect((await stat(file)).mtime).toEqual(hour);
  expect(await store.missing('looked', ['page'])).toEqual(new Set());
  expect((await stat(file)).mtime).not.toEqual(hour);
});

it('removes what writers left half written that are gone', async () => {
  const hour = new Date(Date.now() - 3_600_000);
  const store = new DiskStore(folder, limits);
  await store.putPages('partial', [pageOf('page')]);
  for (const name of ['old.partial', 'new.partial']) await writeFile(join(folder, 'partial', name), 'half');
  await utimes(join(folder, 'partial', 'old.partial'), hour, hour);
  await store.putManifest('partial', 's', manifestOf('page'), null);
  await store.collect();
  expect((await readdir(join(folder, 'partial'))).sort()).toEqual(['new.partial', 'pages', 'sessions']);
});
