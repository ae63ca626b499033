import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { tokensOf } from '@baton/engine';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { decodeManifest } from './format/manifest.ts';
import { openPage, sealPage } from './format/page.ts';
import { history, ids, ref, restored, TestBench, upTo } from './test-support.ts';

describe('a snapshot', () => {
  let bench: TestBench;
  beforeEach(async () => {
    bench = await TestBench.start();
  });
  afterEach(() => bench.stop());

  it('makes whole pages coarse when their tokens are old, as compact: each once, and only where all tokens are looked at', async () => {
    const pages = async () => {
      const stored = await bench.store.getManifest(ref.tenant, ref.session);
      return decodeManifest(stored?.bytes ?? new Uint8Array(), ref).pages.filter(({ part }) => part === 'kv');
    };
    const ofAll = async () => (await pages()).filter(({ group }) => group === 0);
    const owner = bench.open('compact');
    const state = [upTo(history, 150, 0)];
    await owner.save(ref, state, ids(400));
    const first = await ofAll();
    expect(first.map(({ tier }) => tier)).toEqual(['compact', 'compact', 'int8']);
    state.push(upTo(history, 200, 128));
    await owner.save(ref, state, ids(400));
    const second = await ofAll();
    expect(second.map(({ tier }) => tier)).toEqual(['coarse', 'compact', 'compact', 'int8']);
    expect(second[0]?.bytes).toBeLessThan(0.8 * (first[0]?.bytes ?? 0));
    expect(second[1]).toEqual(first[1]);
    const next = bench.open('compact');
    const moved = [...(await restored(next, ids(400))), upTo(history, 240, 192)];
    await next.save(ref, moved, ids(400));
    const third = await ofAll();
    expect(third.map(({ tier }) => tier)).toEqual(['coarse', 'coarse', 'compact', 'int8']);
    expect(third[0]).toEqual(second[0]);
    const within = (await pages()).filter(({ group }) => group === 1);
    expect(within.map(({ tier }) => tier)).toEqual(['compact', 'int8']);
    expect(tokensOf(await restored(bench.open('compact'), ids(400)))).toBe(240);
  });

  it('does not make a page coarse whose bytes are damaged', async () => {
    const owner = bench.open('compact');
    const state = [upTo(history, 150, 0)];
    await owner.save(ref, state, ids(400));
    const stored = await bench.store.getManifest(ref.tenant, ref.session);
    const [page] = decodeManifest(stored?.bytes ?? new Uint8Array(), ref).pages;
    const file = join(bench.folder, 'acme', 'pages', String(page?.key));
    const { head, sections } = openPage(await readFile(file));
    // Another code: still a page, but not the one that its key says.
    const codes = sections.map((bytes, at) => ({
      bytes: at === 1 ? bytes.map((byte, i) => (i === 7 ? byte ^ 0x55 : byte)) : bytes,
      compress: true,
    }));
    await writeFile(file, sealPage(head, codes));
    state.push(upTo(history, 200, 128));
    expect(await owner.save(ref, state, ids(400))).toMatchObject({ kind: 'failed', reason: 'corrupted' });
    expect(await owner.save(ref, [upTo(history, 200, 0)], ids(400))).toMatchObject({ kind: 'saved' });
    expect(tokensOf(await restored(bench.open('compact'), ids(400)))).toBe(200);
  });
});
