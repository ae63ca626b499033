import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type SessionState, type StateDelta, type StateLayout, tokensOf } from '@baton/engine';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { type CodecTier, codecTiers } from './codec/tiers.ts';
import { decodeManifest } from './format/manifest.ts';
import { openPage, sealPage } from './format/page.ts';
import { Snapshots } from './snapshots.ts';
import { DiskStore } from './stores/disk-store.ts';
import { EncryptedStore } from './stores/encrypted-store.ts';
import { noiseState } from './testing.ts';

const layout: StateLayout = {
  kvHeads: 2,
  keySize: 8,
  valueSize: 16,
  windows: [null, 100, null, 100],
  layers: 3,
  conv: [3, 32],
  ssm: [4, 32],
  rotation: { offset: 5, frequencies: [1, 0.3, 0.1, 0.03] },
};
const fingerprint = 'ab'.repeat(32);
const model = { fingerprint, vocabularySize: 1000, contextLength: 1000 };
const ref = { tenant: 'acme', session: 'resp_1' };
const ids = (count: number) => Array.from({ length: count }, (_, i) => (i * 7919) % 1000);

let folder: string;
let store: DiskStore;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'baton-snapshots-'));
  store = new DiskStore(folder, { ttlSeconds: 3600, quotaBytes: 1e9, totalBytes: 1e9 });
});
afterEach(() => rm(folder, { recursive: true }));

const open = (tier: CodecTier = 'exact', overrides: { model?: typeof model; layout?: StateLayout } = {}) =>
  new Snapshots({ store, tier, layout, model, ...overrides });

/** `state` up to `tokens`, as an engine that had run so far would tell it: rows from `from` on. */
function upTo(whole: SessionState, tokens: number, from: number): StateDelta {
  const [delta] = whole as [StateDelta];
  const { kvHeads, keySize, valueSize, windows } = layout;
  const caches = windows.map((window, cache) => {
    const first = Math.max(from, tokens - (window ?? tokens));
    const rows = delta.caches[cache] as StateDelta['caches'][number];
    const cut = (all: Float32Array, width: number) =>
      Float32Array.from({ length: kvHeads * (tokens - first) * width }, (_, at) => {
        const head = Math.floor(at / ((tokens - first) * width));
        const rest = at - head * (tokens - first) * width;
        return all[(head * rows.count + first) * width + rest] ?? 0;
      });
    return { count: tokens - first, keys: cut(rows.keys, keySize), values: cut(rows.values, valueSize) };
  });
  return { ...delta, tokens, from, caches };
}

/** All rows of all tokens, so that any state before can be cut out of it. */
const history = noiseState({ ...layout, windows: layout.windows.map(() => null) }, 400, fingerprint);

/** What a model would read of a state: the rows that it still holds, in order. */
function held(state: SessionState) {
  const tokens = tokensOf(state);
  return layout.windows.map((window, cache) => {
    const rows = new Map<number, string>();
    for (const delta of state) {
      const { count, keys, values } = delta.caches[cache] as StateDelta['caches'][number];
      for (let at = 0; at < count; at++) {
        const row = [0, 1].map((head) => [
          ...keys.slice((head * count + at) * layout.keySize, (head * count + at + 1) * layout.keySize),
          ...values.slice((head * count + at) * layout.valueSize, (head * count + at + 1) * layout.valueSize),
        ]);
        rows.set(delta.tokens - count + at, JSON.stringify(row));
      }
    }
    return [...rows].filter(([token]) => token >= tokens - (window ?? tokens)).sort(([a], [b]) => a - b);
  });
}

async function restored(snapshots: Snapshots, tokens: readonly number[], next = ref): Promise<SessionState> {
  const result = await snapshots.restore(ref, tokens, next);
  if (result.kind !== 'restored') throw new Error(JSON.stringify(result));
  return result.state;
}

describe('a snapshot', () => {
  it.each([1, 63, 64, 65, 99, 100, 101, 127, 128, 129, 163, 164, 165, 228, 300])(
    'of %d tokens comes back bit for bit',
    async (tokens) => {
      const state = [upTo(history, tokens, 0)];
      expect(await open().save(ref, state, ids(400))).toMatchObject({ kind: 'saved', tokens });
      const back = await restored(open(), ids(400));
      expect(tokensOf(back)).toBe(tokens);
      expect(held(back)).toEqual(held(state));
      expect(back.at(-1)?.conv).toEqual(state[0]?.conv);
      expect(back.at(-1)?.ssm).toEqual(state[0]?.ssm);
    },
  );

  it('keeps numbers that are none', async () => {
    const whole = upTo(history, 70, 0);
    const delta = { ...whole, ssm: whole.ssm.map((values) => values.slice()) };
    for (const [at, value] of [Number.NaN, Infinity, -Infinity, -0, 5e-45].entries()) {
      (delta.caches[0] as StateDelta['caches'][number]).keys[at] = value;
      (delta.ssm[1] as Float32Array)[at] = value;
    }
    await open().save(ref, [delta], ids(70));
    expect(held(await restored(open(), ids(70)))).toEqual(held([delta]));
  });

  it('takes two bytes for a float16 key or value, and page by page four where one is not', async () => {
    const unlimited = { ...layout, windows: layout.windows.map(() => null) };
    const rounded = noiseState(unlimited, 400, fingerprint, 1, 'float16');
    const bytesOf = async (delta: StateDelta) => {
      const saved = await open().save(ref, [delta], ids(256));
      if (saved.kind !== 'saved') throw new Error(saved.message);
      expect(held(await restored(open(), ids(256)))).toEqual(held([delta]));
      return saved.storedBytes;
    };
    const [small, large] = [await bytesOf(upTo(rounded, 256, 0)), await bytesOf(upTo(history, 256, 0))];
    expect(small).toBeLessThan(0.6 * large);
    const mixed = upTo(rounded, 256, 0);
    (mixed.caches[0] as StateDelta['caches'][number]).values[9] = 0.1;
    const between = await bytesOf(mixed);
    expect(between).toBeGreaterThan(small);
    expect(between).toBeLessThan((small + large) / 2);
  });

  it.each(['int8', 'compact'] as const)('does not round numbers that are none, as %s', async (tier) => {
    const delta = upTo(history, 70, 0);
    (delta.caches[2] as StateDelta['caches'][number]).values[9] = Number.NaN;
    expect(await open(tier).save(ref, [delta], ids(70))).toMatchObject({
      kind: 'failed',
      reason: 'corrupted',
    });
  });

  it('makes whole pages coarse when their tokens are old, as compact: each once, and only where all tokens are looked at', async () => {
    const pages = async () => {
      const stored = await store.getManifest(ref.tenant, ref.session);
      return decodeManifest(stored?.bytes ?? new Uint8Array(), ref).pages.filter(({ part }) => part === 'kv');
    };
    const ofAll = async () => (await pages()).filter(({ group }) => group === 0);
    const owner = open('compact');
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
    const next = open('compact');
    const moved = [...(await restored(next, ids(400))), upTo(history, 240, 192)];
    await next.save(ref, moved, ids(400));
    const third = await ofAll();
    expect(third.map(({ tier }) => tier)).toEqual(['coarse', 'coarse', 'compact', 'int8']);
    expect(third[0]).toEqual(second[0]);
    const within = (await pages()).filter(({ group }) => group === 1);
    expect(within.map(({ tier }) => tier)).toEqual(['compact', 'int8']);
    expect(tokensOf(await restored(open('compact'), ids(400)))).toBe(240);
  });

  it('does not make a page coarse whose bytes are damaged', async () => {
    const owner = open('compact');
    const state = [upTo(history, 150, 0)];
    await owner.save(ref, state, ids(400));
    const stored = await store.getManifest(ref.tenant, ref.session);
    const [page] = decodeManifest(stored?.bytes ?? new Uint8Array(), ref).pages;
    const file = join(folder, 'acme', 'pages', String(page?.key));
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
    expect(tokensOf(await restored(open('compact'), ids(400)))).toBe(200);
  });

  it('stores only what is new, however it came', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.uniqueArray(fc.integer({ min: 1, max: 380 }), { minLength: 1, maxLength: 8 }),
        fc.array(fc.boolean(), { minLength: 8, maxLength: 8 }),
        async (lengths, moves) => {
          await store.delete(ref.tenant, ref.session);
          let snapshots = open();
          const state: StateDelta[] = [];
          let before = 0;
          for (const [at, tokens] of lengths.sort((a, b) => a - b).entries()) {
            state.push(upTo(history, tokens, before - (before % 64)));
            const report = await snapshots.save(ref, state, ids(400));
            expect(report).toMatchObject({ kind: 'saved', tokens });
            before = tokens;
            expect(held(await restored(open(), ids(400)))).toEqual(held([upTo(history, tokens, 0)]));
            if (moves[at]) {
              snapshots = open();
              state.splice(0, state.length, ...(await restored(snapshots, ids(400))));
            }
          }
        },
      ),
      { numRuns: 25 },
    );
  });

  it('takes few new bytes for a few more tokens', async () => {
    const snapshots = open();
    const state = [upTo(history, 300, 0)];
    const first = await snapshots.save(ref, state, ids(400));
    const second = await snapshots.save(ref, [...state, upTo(history, 310, 256)], ids(400));
    if (first.kind !== 'saved' || second.kind !== 'saved') throw new Error('not saved');
    expect(first.newBytes).toBe(first.storedBytes);
    expect(second.newBytes).toBeLessThan(first.newBytes / 3);
  });

  it('that never fits is refused before its pages are stored', async () => {
    store = new DiskStore(folder, { ttlSeconds: 3600, quotaBytes: 1000, totalBytes: 1e9 });
    for (const own of [store, new EncryptedStore(store, ['0'.repeat(64)])]) {
      const snapshots = new Snapshots({ store: own, tier: 'exact', layout, model });
      const saved = await snapshots.save(ref, [upTo(history, 200, 0)], ids(400));
      expect(saved).toMatchObject({ kind: 'failed', reason: 'store_full' });
    }
    expect(await readdir(folder)).toEqual([]);
  });

  it('goes on from what its owner of before stored while it was moved, and is never taken back', async () => {
    const [former, next] = [open(), open()];
    await former.save(ref, [upTo(history, 140, 0)], ids(400));
    const state = await restored(next, ids(400));
    // The former owner stores on, also after the next one has restored.
    const meanwhile = [upTo(history, 140, 0), upTo(history, 200, 128)];
    expect(await former.save(ref, meanwhile, ids(400))).toMatchObject({ kind: 'saved', tokens: 200 });
    const moved = [...state, upTo(history, 230, 128)];
    const first = await next.save(ref, moved, ids(400));
    if (first.kind !== 'saved') throw new Error(first.message);
    expect(first.newBytes).toBeLessThan(first.storedBytes);
    expect(held(await restored(open(), ids(400)))).toEqual(held([upTo(history, 230, 0)]));
    // A save of the former owner that comes late, whether it knows what it had stored or not.
    const late = {
      kind: 'failed',
      reason: 'foreign_session',
      message: expect.stringContaining('230 tokens'),
    };
    for (const worker of [former, open()]) {
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
      const file = await readFile(join(folder, 'acme', 'sessions', 'resp_1'));
      return JSON.parse(file.subarray(0, file.indexOf(10)).toString()).storedAt as number;
    };
    await open().save(ref, [upTo(history, 70, 0)], ids(70));
    const before = await storedAt();
    await new Promise((resolve) => setTimeout(resolve, 5));
    const snapshots = open();
    await snapshots.renew(ref);
    const renewed = await storedAt();
    expect(renewed).toBeGreaterThan(before);
    await new Promise((resolve) => setTimeout(resolve, 5));
    await snapshots.renew(ref);
    expect(await storedAt()).toBe(renewed);
    expect(await restored(open(), ids(70))).toHaveLength(2);
    await snapshots.renew({ ...ref, session: 'never there' });
  });

  it('of one turn is gone on from in two others, which share its pages', async () => {
    const snapshots = open();
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
    expect((await open().restore({ ...ref, session: 'resp_3' }, ids(400), ref)).kind).toBe('restored');
  });

  it.each(['int8', 'compact'] as const)(
    'as %s is close, and no further away after many moves',
    async (tier) => {
      const bound = tier === 'int8' ? 0.02 : 0.3;
      const state = [upTo(history, 256, 0)];
      let moved: SessionState = state;
      const errors: number[] = [];
      await open(tier).save(ref, state, ids(400));
      for (let move = 0; move < 16; move++) {
        const worker = open(tier);
        moved = await restored(worker, ids(400));
        await worker.save(ref, moved, ids(400));
        errors.push(rowError(moved, state));
      }
      expect(errors[0]).toBeGreaterThan(0);
      expect(Math.max(...errors)).toBeLessThan(bound);
      expect(errors.at(-1)).toBeLessThan((errors[0] ?? 0) * 1.5);
      const recurrent = relativeError(moved.at(-1)?.ssm ?? [], state[0]?.ssm ?? []);
      expect(recurrent).toBeLessThan(tier === 'int8' ? 0.001 : 0.06);
    },
  );
});

/** Root mean square of the difference ÷ that of the right values, of all rows held. */
function rowError(found: SessionState, right: SessionState): number {
  const rowsOf = (state: SessionState) =>
    held(state).map((rows) => Float32Array.from(rows.flatMap(([, row]) => JSON.parse(row).flat())));
  return relativeError(rowsOf(found), rowsOf(right));
}

function relativeError(found: readonly Float32Array[], right: readonly Float32Array[]): number {
  let [difference, size] = [0, 0];
  for (const [part, values] of right.entries()) {
    for (const [at, value] of values.entries()) {
      difference += ((found[part]?.[at] ?? Number.NaN) - value) ** 2;
      size += value ** 2;
    }
  }
  return Math.sqrt(difference / size);
}

describe('what is not to be trusted', () => {
  const refusalOf = async (snapshots: Snapshots, from = ref, tokens = ids(400)) => {
    const result = await snapshots.restore(from, tokens, from);
    return result.kind === 'refused' ? result.reason : result.kind;
  };
  beforeEach(async () => {
    await open().save(ref, [upTo(history, 150, 0)], ids(150));
  });

  it('is refused by name', async () => {
    expect(await refusalOf(open())).toBe('restored');
    expect(await refusalOf(open(), { ...ref, session: 'resp_9' })).toBe('none');
    expect(await refusalOf(open('exact', { model: { ...model, fingerprint: 'cd'.repeat(32) } }))).toBe(
      'foreign_model',
    );
    expect(await refusalOf(open(), ref, ids(149))).toBe('ahead');
    expect(await refusalOf(open(), ref, [5, ...ids(150).slice(1)])).toBe('other_tokens');
    expect(await refusalOf(open('exact', { layout: { ...layout, layers: 2 } }))).toBe('corrupted');
  });

  it('of another tenant or session is refused, wherever it was put', async () => {
    const manifest = await readFile(join(folder, 'acme', 'sessions', 'resp_1'));
    await open().save({ tenant: 'rival', session: 'resp_2' }, [upTo(history, 10, 0)], ids(10));
    await writeFile(join(folder, 'rival', 'sessions', 'resp_1'), manifest);
    expect(await refusalOf(open(), { tenant: 'rival', session: 'resp_1' })).toBe('foreign_session');
  });

  it('of a newer or older version is refused', async () => {
    const session = join(folder, 'acme', 'sessions', 'resp_1');
    const manifest = await readFile(session);
    const version = manifest.indexOf(10) + 1 + 'BATONSNP'.length;
    const newer = Buffer.from(manifest);
    newer[version] = 9;
    await writeFile(session, newer);
    expect(await refusalOf(open())).toBe('newer_version');
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

  it('has lost pages since another worker has stored the next one meanwhile: goes on from that', async () => {
    const owner = open();
    await owner.save(ref, [upTo(history, 150, 0)], ids(150));
    const reader = open();
    const getPages = store.getPages.bind(store);
    let isFirst = true;
    const late = vi.spyOn(store, 'getPages').mockImplementation(async (tenant, keys) => {
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

  it('has lost a page', async () => {
    const pages = join(folder, 'acme', 'pages');
    const [first] = await readdir(pages);
    await rm(join(pages, String(first)));
    expect(await refusalOf(open())).toBe('page_missing');
  });

  it('is stored whole, although another session that had its pages ends meanwhile', async () => {
    const state = [upTo(history, 150, 0)];
    const [other, shared] = [open(), open()];
    const ended = { ...ref, session: 'resp_8' };
    const lasting = { ...ref, session: 'prefix-1' };
    await store.delete(ref.tenant, ref.session);
    await other.save(ended, state, ids(150));
    const putManifest = store.putManifest.bind(store);
    const late = vi.spyOn(store, 'putManifest').mockImplementationOnce(async (...args) => {
      await other.save(ended, [upTo(history, 170, 0)], ids(170));
      await other.delete(ended);
      return putManifest(...args);
    });
    expect(await shared.save(lasting, state, ids(150))).toMatchObject({ kind: 'saved' });
    expect(late).toHaveBeenCalledTimes(3);
    late.mockRestore();
    const result = await open().restore(lasting, ids(400), lasting);
    expect(result.kind).toBe('restored');
  });

  it('is healed by the next save, where a page or what the store keeps was damaged', async () => {
    const state = [upTo(history, 150, 0)];
    const pages = join(folder, 'acme', 'pages');
    for (const name of await readdir(pages)) await writeFile(join(pages, name), 'damaged');
    expect(await refusalOf(open())).toBe('corrupted');
    expect(await open().save(ref, state, ids(150))).toMatchObject({ kind: 'saved' });
    expect(await refusalOf(open())).toBe('restored');
    await writeFile(join(folder, 'acme', 'sessions', 'resp_1'), 'damaged');
    expect(await refusalOf(open())).toBe('corrupted');
    expect(await open().save(ref, state, ids(150))).toMatchObject({ kind: 'saved' });
    expect(await refusalOf(open())).toBe('restored');
  });

  it('of a key that is given no more makes room for one of a newer key', async () => {
    const [old, current] = ['1', '2'].map((digit) => digit.repeat(64)) as [string, string];
    const encrypted = (key: string) =>
      new Snapshots({ store: new EncryptedStore(store, [key]), tier: 'exact', layout, model });
    const own = { ...ref, session: 'resp_7' };
    await encrypted(old).save(own, [upTo(history, 150, 0)], ids(150));
    expect(await refusalOf(encrypted(current), own)).toBe('key_missing');
    expect(await encrypted(current).save(own, [upTo(history, 150, 0)], ids(150))).toMatchObject({
      kind: 'saved',
    });
    expect(await refusalOf(encrypted(current), own)).toBe('restored');
  });

  it('has a wrong bit or a missing end, in any part', async () => {
    const files = [
      join(folder, 'acme', 'sessions', 'resp_1'),
      ...(await readdir(join(folder, 'acme', 'pages'))).map((name) => join(folder, 'acme', 'pages', name)),
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
          const reason = await refusalOf(open());
          await writeFile(file, right);
          expect(['truncated', 'corrupted', 'newer_version']).toContain(reason);
        },
      ),
      { numRuns: 300 },
    );
    expect(await refusalOf(open())).toBe('restored');
  });

  it.each(codecTiers)('with pages of another size is refused, as %s', async (tier) => {
    const snapshots = open(tier);
    await snapshots.save({ ...ref, session: 'resp_5' }, [upTo(history, 150, 0)], ids(150));
    const other = open(tier, { layout: { ...layout, valueSize: 8 } });
    expect(await refusalOf(other, { ...ref, session: 'resp_5' })).toBe('corrupted');
  });
});
