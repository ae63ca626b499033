import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { DiskStore } from '@baton/snapshot/disk-store';
import { Snapshots } from '@baton/snapshot/snapshots';
import { noiseState } from '@baton/snapshot/testing';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
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

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'baton-cli-'));
  const limits = { ttlSeconds: 86_400, quotaBytes: 1e9, totalBytes: 1e9 };
  const model = { fingerprint, vocabularySize: 300, contextLength: 1000 };
  const snapshots = new Snapshots({ store: new DiskStore(folder, limits), tier: 'compact', layout, model });
  const tokens = Array.from({ length: 200 }, (_, i) => i);
  // Of an hour and a half ago.
  const clock = vi.spyOn(Date, 'now').mockReturnValue(Date.now() - 5_400_000);
  await snapshots.save({ tenant: 'acme', session: 'resp_1' }, noiseState(layout, 200, fingerprint), tokens);
  clock.mockRestore();
});
afterEach(() => rm(folder, { recursive: true }));

const inspect = (...args: string[]) =>
  runBaton(['snapshot', 'inspect', '--store', pathToFileURL(folder).href, ...args], folder);

it('shows a snapshot part by part', async () => {
  const { code, stdout } = await inspect('--tenant', 'acme', 'resp_1');
  expect(code).toBe(0);
  expect(stdout).toContain('resp_1 of acme: 200 tokens, 8 pages, model abababababab…');
  // Three whole pages, one of them old, and a last one of all tokens; of the window's tokens one whole page, one cut by it, and a last one.
  expect(stdout).toMatch(/^kv +0 +coarse +1 +0–63 .* B? *[\d.]+$/m);
  expect(stdout).toMatch(/^kv +0 +compact +2 +64–191 /m);
  expect(stdout).toMatch(/^kv +1 +compact +2 +100–191 /m);
  expect(stdout).toMatch(/^kv +1 +int8 +1 +192–199 /m);
  expect(stdout).toMatch(/^recurrent +compact +1 /m);
  expect(stdout).toMatch(/^all +8 /m);
});

it('says what is missing', async () => {
  expect(await inspect('resp_1')).toMatchObject({
    code: 1,
    stderr: expect.stringContaining('default has no snapshot'),
  });
  const pages = join(folder, 'acme', 'pages');
  await rm(join(pages, String((await readdir(pages))[0])));
  const { stdout } = await inspect('--tenant', 'acme', 'resp_1');
  expect(stdout).toContain('1 of its pages are gone');
});
