import { createHash } from 'node:crypto';
import { readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { codecTiers } from './codec/tiers.ts';
import { openPage, sealPage } from './format/page.ts';
import { history, ids, layout, model, ref, refusalOf, TestBench, upTo } from './test-support.ts';

describe('what is not to be trusted', () => {
  let bench: TestBench;
  beforeEach(async () => {
    bench = await TestBench.start();
    await bench.open().save(ref, [upTo(history, 150, 0)], ids(150));
  });
  afterEach(() => bench.stop());

  it('is refused by name', async () => {
    expect(await refusalOf(bench.open())).toBe('restored');
    expect(await refusalOf(bench.open(), { ...ref, session: 'resp_9' })).toBe('none');
    expect(await refusalOf(bench.open('exact', { model: { ...model, fingerprint: 'cd'.repeat(32) } }))).toBe(
      'foreign_model',
    );
    expect(await refusalOf(bench.open(), ref, ids(149))).toBe('ahead');
    expect(await refusalOf(bench.open(), ref, [5, ...ids(150).slice(1)])).toBe('other_tokens');
    expect(await refusalOf(bench.open('exact', { layout: { ...layout, layers: 2 } }))).toBe('corrupted');
  });

  it('of another tokenizer is refused, where both are known', async () => {
    const own = { ...model, tokenizer: '12'.repeat(32) };
    const other = { ...model, tokenizer: '34'.repeat(32) };
    expect(await refusalOf(bench.open('exact', { model: own }))).toBe('restored');
    await bench.open('exact', { model: own }).save(ref, [upTo(history, 150, 0)], ids(150));
    expect(await refusalOf(bench.open('exact', { model: own }))).toBe('restored');
    expect(await refusalOf(bench.open('exact', { model: other }))).toBe('foreign_tokenizer');
    expect(await refusalOf(bench.open())).toBe('restored');
    // Nobody goes on from it there, so it is no further than what is stored instead.
    const shorter = await bench.open('exact', { model: other }).save(ref, [upTo(history, 100, 0)], ids(100));
    expect(shorter).toMatchObject({ kind: 'saved' });
  });

  it('is gone on from where its manifest was written before manifests named tokenizers', async () => {
    const session = join(bench.folder, 'acme', 'sessions', 'resp_1');
    const file = await readFile(session);
    const at = file.indexOf(10) + 1;
    const body = file.subarray(at, -32);
    const before = Buffer.concat([body.subarray(0, 42), body.subarray(74)]);
    before.writeUInt16LE(1, 8);
    const checksum = createHash('sha256').update(before).digest();
    await writeFile(session, Buffer.concat([file.subarray(0, at), before, checksum]));
    const known = bench.open('exact', { model: { ...model, tokenizer: '12'.repeat(32) } });
    expect(await refusalOf(known)).toBe('restored');
    expect(await known.save(ref, [upTo(history, 170, 0)], ids(170))).toMatchObject({ kind: 'saved' });
  });

  it('of another tenant or session is refused, wherever it was put', async () => {
    const manifest = await readFile(join(bench.folder, 'acme', 'sessions', 'resp_1'));
    await bench.open().save({ tenant: 'rival', session: 'resp_2' }, [upTo(history, 10, 0)], ids(10));
    await writeFile(join(bench.folder, 'rival', 'sessions', 'resp_1'), manifest);
    expect(await refusalOf(bench.open(), { tenant: 'rival', session: 'resp_1' })).toBe('foreign_session');
  });

  it('of a newer or older version is refused', async () => {
    const session = join(bench.folder, 'acme', 'sessions', 'resp_1');
    const manifest = await readFile(session);
    const version = manifest.indexOf(10) + 1 + 'BATONSNP'.length;
    const newer = Buffer.from(manifest);
    newer[version] = 9;
    await writeFile(session, newer);
    expect(await refusalOf(bench.open())).toBe('newer_version');
    await writeFile(session, manifest);
    // A page's bytes are its key: another version of it comes with another manifest.
    const head = { part: 'recurrent', tier: 'exact', group: 0, first: 1, count: 0 } as const;
    const page = sealPage(head, [{ bytes: Buffer.from('abc'), compress: false }]);
    expect(openPage(page).sections.map(String)).toEqual(['97,98,99']);
    for (const [found, reason] of [
      [3, 'older_version'],
      [5, 'newer_version'],
    ] as const) {
      page[4] = found;
      expect(() => openPage(page)).toThrow(expect.objectContaining({ reason }));
    }
  });

  it('has lost a page', async () => {
    const pages = join(bench.folder, 'acme', 'pages');
    const [first] = await readdir(pages);
    await rm(join(pages, String(first)));
    expect(await refusalOf(bench.open())).toBe('page_missing');
  });

  it('has a wrong bit or a missing end, in any part', async () => {
    const files = [
      join(bench.folder, 'acme', 'sessions', 'resp_1'),
      ...(await readdir(join(bench.folder, 'acme', 'pages'))).map((name) =>
        join(bench.folder, 'acme', 'pages', name),
      ),
    ];
    await fc.assert(
      fc.asyncProperty(
        fc.nat(),
        fc.nat(),
        fc.integer({ min: 1, max: 255 }),
        fc.boolean(),
        async (which, where, bits, cut) => {
          const file = files[which % files.length] as string;
          const right = await readFile(file);
          // What is before a manifest says to the store which pages to keep, and nothing about the state.
          const head = which % files.length === 0 ? right.indexOf(10) + 1 : 0;
          const at = head + (where % (right.length - head));
          const wrong = cut ? right.subarray(0, at) : Buffer.from(right);
          if (!cut) wrong[at] = (wrong[at] as number) ^ bits;
          await writeFile(file, wrong);
          const reason = await refusalOf(bench.open());
          await writeFile(file, right);
          expect(['truncated', 'corrupted', 'newer_version', 'older_version']).toContain(reason);
        },
      ),
      { numRuns: 300 },
    );
    expect(await refusalOf(bench.open())).toBe('restored');
  });

  it.each(codecTiers)('with pages of another size is refused, as %s', async (tier) => {
    const snapshots = bench.open(tier);
    await snapshots.save({ ...ref, session: 'resp_5' }, [upTo(history, 150, 0)], ids(150));
    const other = bench.open(tier, { layout: { ...layout, valueSize: 8 } });
    expect(await refusalOf(other, { ...ref, session: 'resp_5' })).toBe('corrupted');
  });
});
