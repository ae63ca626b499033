import { hash, randomBytes } from 'node:crypto';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { DiskStore } from './disk-store.ts';
import { EncryptedStore } from './encrypted-store.ts';
import { describeStoreConformance } from './store-conformance.ts';

const [old, current, foreign] = [1, 2, 3].map(() => randomBytes(32).toString('hex')) as [
  string,
  string,
  string,
];
const limits = { ttlSeconds: 3600, quotaBytes: 1e9, totalBytes: 1e9 };
const text = Buffer.from('a state that nobody else may read');

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'baton-encrypted-'));
});
afterAll(() => rm(folder, { recursive: true }));

describeStoreConformance(
  'EncryptedStore',
  async (own) => new EncryptedStore(new DiskStore(folder, own), [current]),
  {
    overhead: 40,
  },
);

const withKeys = (...keys: [string, ...string[]]) => new EncryptedStore(new DiskStore(folder, limits), keys);
const put = async (tenant: string, keys: [string, ...string[]]) => {
  const store = withKeys(...keys);
  await store.putPages(tenant, [{ key: 'page', bytes: text }]);
  const manifest = { bytes: text, pages: [{ key: 'page', bytes: text.length }] };
  expect(await store.putManifest(tenant, 'session', manifest, null)).not.toBeNull();
};

it('writes nothing that can be read without a key', async () => {
  await put('hidden', [current]);
  for (const file of await readdir(join(folder, 'hidden'), { recursive: true, withFileTypes: true })) {
    if (!file.isFile()) continue;
    expect((await readFile(join(file.parentPath, file.name))).includes('nobody')).toBe(false);
  }
  expect((await withKeys(current).usage('hidden')).bytes).toBe(2 * (text.length + 40));
});

it('reads what an older key has encrypted, and refuses what none of its keys has', async () => {
  await put('rotated', [old]);
  const both = withKeys(current, old);
  expect(Buffer.from((await both.getPages('rotated', ['page']))[0] ?? [])).toEqual(text);
  expect(Buffer.from((await both.getManifest('rotated', 'session'))?.bytes ?? [])).toEqual(text);
  await put('newest', [current, old]);
  expect(await withKeys(current).getManifest('newest', 'session')).not.toBeNull();
  for (const keys of [[current], [foreign]] as [string][]) {
    await expect(withKeys(...keys).getManifest('rotated', 'session')).rejects.toMatchObject({
      reason: 'key_missing',
    });
  }
});

it('refuses what is not encrypted, was changed, cut off, or moved to another name or tenant', async () => {
  await put('victim', [current]);
  const store = withKeys(current);
  const nameOf = (key: string) => `${key}.${hash('sha256', Buffer.from(current, 'hex')).slice(0, 16)}`;
  const file = join(folder, 'victim', 'pages', nameOf('page'));
  const right = await readFile(file);
  const reasonOf = async (bytes: Uint8Array, tenant = 'victim', key = 'page') => {
    await writeFile(join(folder, tenant, 'pages', nameOf(key)), bytes);
    return store.getPages(tenant, [key]).then(
      () => 'read',
      ({ reason }) => reason,
    );
  };
  expect(await reasonOf(text)).toBe('key_missing');
  for (let at = 4; at < right.length; at++) {
    const wrong = Buffer.from(right);
    wrong[at] = (wrong[at] as number) ^ 1;
    expect(await reasonOf(wrong)).toBe(at < 12 ? 'key_missing' : 'corrupted');
    expect(['truncated', 'corrupted']).toContain(await reasonOf(right.subarray(0, at)));
  }
  expect(await reasonOf(right, 'victim', 'other')).toBe('corrupted');
  await put('thief', [current]);
  expect(await reasonOf(right, 'thief')).toBe('corrupted');
  expect(await reasonOf(right)).toBe('read');
});

it('does not count as there what a key has encrypted that is given no more, and stores it again', async () => {
  await put('dropped', [old]);
  const pages = ['page', 'other'];
  expect(await withKeys(current, old).missing('dropped', pages)).toEqual(new Set(['other']));
  expect(await withKeys(current).missing('dropped', pages)).toEqual(new Set(pages));
  expect(await withKeys(current).getPages('dropped', pages)).toEqual([null, null]);
  const store = withKeys(current);
  await store.delete('dropped', 'session');
  await put('dropped', [current]);
  expect(Buffer.from((await store.getPages('dropped', ['page']))[0] ?? [])).toEqual(text);
});

it('keeps what an older key has encrypted for as long as a manifest of a newer key names it', async () => {
  await put('mixed', [old]);
  const hasty = { ...limits, unnamedSeconds: 0.01 };
  const both = new EncryptedStore(new DiskStore(folder, hasty), [current, old]);
  const before = await both.getManifest('mixed', 'session');
  const manifest = { bytes: text, pages: [{ key: 'page', bytes: text.length }] };
  expect(await both.putManifest('mixed', 'session', manifest, before?.version ?? null)).not.toBeNull();
  await new Promise((resolve) => setTimeout(resolve, 30));
  const collecting = new EncryptedStore(new DiskStore(folder, hasty), [current]);
  await collecting.collect();
  expect(Buffer.from((await both.getPages('mixed', ['page']))[0] ?? [])).toEqual(text);
});

it('takes away a page that does not decrypt, so that it is stored again', async () => {
  await put('damaged', [current]);
  const [name] = await readdir(join(folder, 'damaged', 'pages'));
  const file = join(folder, 'damaged', 'pages', String(name));
  await writeFile(file, (await readFile(file)).subarray(0, -1));
  const store = withKeys(current);
  await expect(store.getPages('damaged', ['page'])).rejects.toMatchObject({ reason: 'corrupted' });
  expect(await store.missing('damaged', ['page'])).toEqual(new Set(['page']));
});
