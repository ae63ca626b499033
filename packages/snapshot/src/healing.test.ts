import { readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { tokensOf } from '@baton/engine';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { Snapshots } from './snapshots.ts';
import { EncryptedStore } from './stores/encrypted-store.ts';
import { history, ids, layout, model, ref, refusalOf, TestBench, upTo } from './test-support.ts';

describe('what is not to be trusted', () => {
  let bench: TestBench;
  beforeEach(async () => {
    bench = await TestBench.start();
    await bench.open().save(ref, [upTo(history, 150, 0)], ids(150));
  });
  afterEach(() => bench.stop());

  it('has lost pages since another worker has stored the next one meanwhile: goes on from that', async () => {
    const owner = bench.open();
    await owner.save(ref, [upTo(history, 150, 0)], ids(150));
    const reader = bench.open();
    const getPages = bench.store.getPages.bind(bench.store);
    let isFirst = true;
    const late = vi.spyOn(bench.store, 'getPages').mockImplementation(async (tenant, keys) => {
      if (isFirst) {
        isFirst = false;
        await owner.save(ref, [upTo(history, 170, 0)], ids(170));
        expect(await getPages(tenant, keys)).toContain(null);
      }
      return getPages(tenant, keys);
    });
    const result = await reader.restore(ref, ids(400), ref);
    late.mockRestore();
    expect(result.kind === 'restored' && tokensOf(result.state)).toBe(170);
  });

  it('is stored whole, although another session that had its pages ends meanwhile', async () => {
    const state = [upTo(history, 150, 0)];
    const [other, shared] = [bench.open(), bench.open()];
    const ended = { ...ref, session: 'resp_8' };
    const lasting = { ...ref, session: 'prefix-1' };
    await bench.store.delete(ref.tenant, ref.session);
    await other.save(ended, state, ids(150));
    const putManifest = bench.store.putManifest.bind(bench.store);
    const late = vi.spyOn(bench.store, 'putManifest').mockImplementationOnce(async (...args) => {
      await other.save(ended, [upTo(history, 170, 0)], ids(170));
      await other.delete(ended);
      return putManifest(...args);
    });
    expect(await shared.save(lasting, state, ids(150))).toMatchObject({ kind: 'saved' });
    expect(late).toHaveBeenCalledTimes(3);
    late.mockRestore();
    const result = await bench.open().restore(lasting, ids(400), lasting);
    expect(result.kind).toBe('restored');
  });

  it('is healed by the next save, where a page or what the store keeps was damaged', async () => {
    const state = [upTo(history, 150, 0)];
    const pages = join(bench.folder, 'acme', 'pages');
    for (const name of await readdir(pages)) await writeFile(join(pages, name), 'damaged');
    expect(await refusalOf(bench.open())).toBe('corrupted');
    expect(await bench.open().save(ref, state, ids(150))).toMatchObject({ kind: 'saved' });
    expect(await refusalOf(bench.open())).toBe('restored');
    await writeFile(join(bench.folder, 'acme', 'sessions', 'resp_1'), 'damaged');
    expect(await refusalOf(bench.open())).toBe('corrupted');
    expect(await bench.open().save(ref, state, ids(150))).toMatchObject({ kind: 'saved' });
    expect(await refusalOf(bench.open())).toBe('restored');
  });

  it('of a key that is given no more makes room for one of a newer key', async () => {
    const [old, current] = ['1', '2'].map((digit) => digit.repeat(64)) as [string, string];
    const encrypted = (key: string) =>
      new Snapshots({ store: new EncryptedStore(bench.store, [key]), tier: 'exact', layout, model });
    const own = { ...ref, session: 'resp_7' };
    await encrypted(old).save(own, [upTo(history, 150, 0)], ids(150));
    expect(await refusalOf(encrypted(current), own)).toBe('key_missing');
    expect(await encrypted(current).save(own, [upTo(history, 150, 0)], ids(150))).toMatchObject({
      kind: 'saved',
    });
    expect(await refusalOf(encrypted(current), own)).toBe('restored');
  });
});
