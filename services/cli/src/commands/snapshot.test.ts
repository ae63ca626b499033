import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { SnapshotStore } from '@baton/snapshot';
import { DiskStore } from '@baton/snapshot/disk-store';
import { EncryptedStore } from '@baton/snapshot/encrypted-store';
import { startS3Server } from '@baton/snapshot/s3-test-server';
import { Snapshots } from '@baton/snapshot/snapshots';
import { noiseState } from '@baton/snapshot/testing';
import { afterEach, beforeEach, expect, it, onTestFinished, vi } from 'vitest';
import { runBaton } from '../run-baton.ts';

const layout = {
  kvHeads: 1,
  keySize: 8,
  valueSize: 8,
  windows: [null, 100],
  layers: 2,
  conv: [3, 32],
  ssm: [4, 32],
  rotation: null,
} as const;
const fingerprint = 'ab'.repeat(32);

const limits = { ttlSeconds: 86_400, quotaBytes: 1e9, totalBytes: 1e9 };
const model = { fingerprint, vocabularySize: 300, contextLength: 1000 };
const ref = { tenant: 'acme', session: 'resp_1' };

let folder: string;
let store: DiskStore;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'baton-cli-'));
  store = new DiskStore(folder, limits);
});
afterEach(() => rm(folder, { recursive: true }));

async function save(to: SnapshotStore): Promise<void> {
  const snapshots = new Snapshots({ store: to, tier: 'compact', layout, model });
  const tokens = Array.from({ length: 200 }, (_, i) => i);
  // An hour and a half ago.
  const clock = vi.spyOn(Date, 'now').mockReturnValue(Date.now() - 5_400_000);
  expect(await snapshots.save(ref, noiseState(layout, 200, fingerprint), tokens)).toMatchObject({
    kind: 'saved',
  });
  clock.mockRestore();
}

const inspect = (args: readonly string[], env = {}) =>
  runBaton(['snapshot', 'inspect', '--store', pathToFileURL(folder).href, ...args], folder, env);

it('shows a snapshot part by part', async () => {
  await save(store);
  const { code, stdout } = await inspect(['--tenant', 'acme', 'resp_1']);
  expect(code).toBe(0);
  expect(stdout).toContain('resp_1 of acme: 200 tokens, 9 pages, model abababababab…\n');
  // Three whole pages, one of them old, and a last one of all tokens; of the window's tokens one whole page, one cut by it, and a last one.
  expect(stdout).toMatch(/^kv +0 +coarse +1 +0–63 +[\d,]+ +4,096 +[\d.]+$/m);
  expect(stdout).toMatch(/^kv +0 +compact +2 +64–191 /m);
  expect(stdout).toMatch(/^kv +1 +compact +2 +100–191 /m);
  expect(stdout).toMatch(/^kv +1 +int8 +1 +192–199 /m);
  expect(stdout).toMatch(/^conv +compact +1 +[\d,]+ +768 +[\d.]+$/m);
  expect(stdout).toMatch(/^ssm +compact +1 +[\d,]+ +1,024 +[\d.]+$/m);
  expect(stdout).toMatch(/^manifest +[\d,]+$/m);
  expect(stdout).toMatch(/^all +9 /m);
});

it.each([
  ['encrypted', 'ab'.repeat(32)],
  ['not encrypted', undefined],
])('counts all that is stored of one that is %s', async (_, key) => {
  const kept = key === undefined ? store : new EncryptedStore(store, [key]);
  await save(kept);
  const { stdout } = await inspect(['--tenant', 'acme', 'resp_1'], { BATON_SNAPSHOT_KEYS: key });
  const bytesOf = (line: string) =>
    Number((/ ([\d,]+)( +[\d,]+ +[\d.]+)?$/.exec(line)?.[1] ?? '').replaceAll(',', ''));
  const lines = stdout.trim().split('\n').slice(3);
  const all = bytesOf(String(lines.pop()));
  expect(all).toBe((await kept.usage('acme')).bytes);
  expect(lines.reduce((sum, line) => sum + bytesOf(line), 0)).toBe(all);
});

it('writes nothing to a bucket that it only looks into', async () => {
  const server = await startS3Server();
  onTestFinished(() => server.stop());
  const url = server.url('some/folder');
  const credentials = { AWS_ACCESS_KEY_ID: 'S3RVER', AWS_SECRET_ACCESS_KEY: 'S3RVER' };
  const { stderr } = await inspect(['--store', url, 'resp_1'], credentials);
  expect(stderr).toContain('default has no snapshot');
  expect(server.requests.length).toBeGreaterThan(0);
  expect(server.requests.filter((request) => !/^(HEAD|GET) /.test(request))).toEqual([]);
  const nowhere = await inspect(['--store', url.replace('snapshots', 'nothing-here'), 'resp_1'], credentials);
  expect(nowhere.stderr).toContain('NoSuchBucket');
});

it('says what is missing', async () => {
  expect(await inspect(['resp_1'])).toMatchObject({
    code: 1,
    stderr: expect.stringContaining('default has no snapshot'),
  });
  await save(store);
  const pages = join(folder, 'acme', 'pages');
  await rm(join(pages, String((await readdir(pages))[0])));
  const { stdout } = await inspect(['--tenant', 'acme', 'resp_1']);
  expect(stdout).toContain('1 of its pages are gone');
});

it('says what is wrong with the place it is to look at', async () => {
  expect(
    await runBaton(['snapshot', 'inspect', '--store', 's3://bucket?endpiont=x', 'resp_1'], folder),
  ).toMatchObject({
    code: 1,
    stderr: expect.stringContaining('baton: --store s3://bucket?endpiont=*** asks for endpiont'),
  });
});
