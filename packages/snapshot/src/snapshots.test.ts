import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { StateDelta } from '@baton/engine';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Snapshots } from './snapshots.ts';
import { DiskStore } from './stores/disk-store.ts';
import { EncryptedStore } from './stores/encrypted-store.ts';
import { held, history, ids, layout, model, ref, restored, TestBench, upTo } from './test-support.ts';

describe('a snapshot', () => {
  let bench: TestBench;
  beforeEach(async () => {
    bench = await TestBench.start();
  });
  afterEach(() => bench.stop());

  it('stores only what is new, however it came', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.uniqueArray(fc.integer({ min: 1, max: 380 }), { minLength: 1, maxLength: 8 }),
        fc.array(fc.boolean(), { minLength: 8, maxLength: 8 }),
        async (lengths, moves) => {
          await bench.store.delete(ref.tenant, ref.session);
          let snapshots = bench.open();
          const state: StateDelta[] = [];
          let before = 0;
          for (const [at, tokens] of lengths.sort((a, b) => a - b).entries()) {
            state.push(upTo(history, tokens, before - (before % 64)));
            const report = await snapshots.save(ref, state, ids(400));
            expect(report).toMatchObject({ kind: 'saved', tokens });
            before = tokens;
            expect(held(await restored(bench.open(), ids(400)))).toEqual(held([upTo(history, tokens, 0)]));
            if (moves[at]) {
              snapshots = bench.open();
              state.splice(0, state.length, ...(await restored(snapshots, ids(400))));
            }
          }
        },
      ),
      { numRuns: 25 },
    );
  });

  it('takes few new bytes for a few more tokens', async () => {
    const snapshots = bench.open();
    const state = [upTo(history, 300, 0)];
    const first = await snapshots.save(ref, state, ids(400));
    const second = await snapshots.save(ref, [...state, upTo(history, 310, 256)], ids(400));
    if (first.kind !== 'saved' || second.kind !== 'saved') throw new Error('not saved');
    expect(first.newBytes).toBe(first.storedBytes);
    expect(second.newBytes).toBeLessThan(first.newBytes / 3);
  });

  it('that never fits is refused before its pages are stored', async () => {
    const store = new DiskStore(bench.folder, { ttlSeconds: 3600, quotaBytes: 1000, totalBytes: 1e9 });
    for (const own of [store, new EncryptedStore(store, ['0'.repeat(64)])]) {
      const snapshots = new Snapshots({ store: own, tier: 'exact', layout, model });
      const saved = await snapshots.save(ref, [upTo(history, 200, 0)], ids(400));
      expect(saved).toMatchObject({ kind: 'failed', reason: 'store_full' });
    }
    expect(await readdir(bench.folder)).toEqual([]);
  });

  it('goes on from what its owner of before stored while it was moved, and is never taken back', async () => {
    const [former, next] = [bench.open(), bench.open()];
    await former.save(ref, [upTo(history, 140, 0)], ids(400));
    const state = await restored(next, ids(400));
    // The former owner stores on, also after the next one has restored.
    const meanwhile = [upTo(history, 140, 0), upTo(history, 200, 128)];
    expect(await former.save(ref, meanwhile, ids(400))).toMatchObject({ kind: 'saved', tokens: 200 });
    const moved = [...state, upTo(history, 230, 128)];
    const first = await next.save(ref, moved, ids(400));
    if (first.kind !== 'saved') throw new Error(first.message);
    expect(first.newBytes).toBeLessThan(first.storedBytes);
    expect(held(await restored(bench.open(), ids(400)))).toEqual(held([upTo(history, 230, 0)]));
    // A save of the former owner that comes late, whether it knows what it had stored or not.
    const late = {
      kind: 'failed',
      reason: 'foreign_session',
      message: expect.stringContaining('230 tokens'),
    };
    for (const worker of [former, bench.open()]) {
      const stale = [...meanwhile, upTo(history, 210, 192)];
      expect(await worker.save(ref, stale, ids(400))).toMatchObject(late);
    }
    expect(await next.save(ref, [...moved, upTo(history, 250, 192)], ids(400))).toMatchObject({
      kind: 'saved',
      tokens: 250,
    });
  });

  it('begins its time to live anew when it is renewed', async () => {
    const storedAt = async () => {
      const file = await readFile(join(bench.folder, 'acme', 'sessions', 'resp_1'));
      return JSON.parse(file.subarray(0, file.indexOf(10)).toString()).storedAt as number;
    };
    await bench.open().save(ref, [upTo(history, 70, 0)], ids(70));
    const before = await storedAt();
    await new Promise((resolve) => setTimeout(resolve, 5));
    const snapshots = bench.open();
    await snapshots.renew(ref);
    const renewed = await storedAt();
    expect(renewed).toBeGreaterThan(before);
    await new Promise((resolve) => setTimeout(resolve, 5));
    await snapshots.renew(ref);
    expect(await storedAt()).toBe(renewed);
    expect(await restored(bench.open(), ids(70))).toHaveLength(2);
    await snapshots.renew({ ...ref, session: 'never there' });
  });

  it('of one turn is gone on from in two others, which share its pages', async () => {
    const snapshots = bench.open();
    const state = [upTo(history, 200, 0)];
    await snapshots.save(ref, state, ids(400));
    for (const session of ['resp_2', 'resp_3']) {
      const next = { ...ref, session };
      const from = await restored(snapshots, ids(400), next);
      const report = await snapshots.save(next, [...from, upTo(history, 230, 192)], ids(400));
      if (report.kind !== 'saved') throw new Error(report.message);
      expect(report.newBytes).toBeLessThan(report.storedBytes / 2);
    }
    await snapshots.delete(ref);
    expect((await bench.open().restore({ ...ref, session: 'resp_3' }, ids(400), ref)).kind).toBe('restored');
  });
});
