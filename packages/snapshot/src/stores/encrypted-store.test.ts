import { randomBytes } from 'node:crypto';
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
  const file = join(folder, 'victim', 'pages', 'page');
  const right = await readFile(file);
  const reasonOf = async (bytes: Uint8Array, tenant = 'victim', key = 'page') => {
    await writeFile(join(folder, tenant, 'pages', key), bytes);
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
