import { type HymbaConfig, maskedBias, readConfig } from '@baton/hymba';
import { goldenCheckpoint } from '@baton/testing';
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { attentionBias } from './attention-bias.ts';
import type { KvPool } from './kv-pool.ts';
import { type Slot, StatePool } from './state-pool.ts';
import { bucketOf, slotBytes } from './state-size.ts';

let config: HymbaConfig;

/** 4 meta tokens, a window of 8, three KV heads with keys of 16 and values of 32; caches: sliding, global, sliding. */
beforeAll(async () => {
  config = await readConfig(goldenCheckpoint('no-sharing'));
});

/** Rows that say which sequence, position and head they are of. */
function rowsOf(first: number, count: number, sequence = 0) {
  const fill = (width: number, sign: number) =>
    Float32Array.from({ length: config.kvHeads * count * width }, (_, i) => {
      const head = Math.floor(i / (count * width));
      const position = first + (Math.floor(i / width) % count);
      return sign * (1000 * sequence + position + head / 10);
    });
  return { count, keys: fill(config.keySize, 1), values: fill(config.valueSize, -1) };
}

function append(pool: StatePool, slot: Slot, count: number, sequence = 0): void {
  pool.fit(slot.length + count);
  pool.append(
    slot,
    count,
    0,
    config.caches.map(() => rowsOf(slot.length, count, sequence)),
  );
}

function filled(chunks: readonly number[]): { pool: StatePool; slot: Slot } {
  const pool = new StatePool(config, 2);
  const slot = pool.allocate();
  for (const count of chunks) append(pool, slot, count);
  return { pool, slot };
}

function kindOf(pool: StatePool, kind: KvPool['kind']): KvPool {
  const found = pool.kinds.find((candidate) => candidate.kind === kind);
  if (!found) throw new RangeError(`no ${kind} cache`);
  return found;
}

describe('a cache', () => {
  it.each([
    { kind: 'sliding', chunks: [4, 3, 1, 1, 1, 1, 5], first: 8 },
    { kind: 'sliding', chunks: [4, 50], first: 46 },
    { kind: 'sliding', chunks: [4, 2], first: 4 },
    { kind: 'sliding', chunks: [4], first: 4 },
    { kind: 'global', chunks: [4, 3, 1, 100, 24], first: 4 },
  ] as const)(
    '$kind, filled with $chunks rows, holds the positions from $first on',
    ({ kind, chunks, first }) => {
      const { pool, slot } = filled(chunks);
      const caches = kindOf(pool, kind);
      expect(caches.firstHeld(slot.length)).toBe(first);
      for (const cache of caches.caches.values()) {
        expect(caches.read(slot.index, first, slot.length, cache)).toEqual(
          rowsOf(first, slot.length - first),
        );
        expect(caches.read(slot.index, 0, config.metaTokens, cache)).toEqual(rowsOf(0, config.metaTokens));
      }
    },
  );

  it('grows no further than its window', () => {
    expect(kindOf(filled([4, 60]).pool, 'sliding').capacity).toBe(12);
    expect(kindOf(filled([4, 124]).pool, 'global').capacity).toBe(128);
    expect(kindOf(filled([4, 125]).pool, 'global').capacity).toBe(132);
  });

  it('takes the rows of its own item of a batch', () => {
    const { pool, slot } = filled([4]);
    const batch = (rows: (sequence: number) => Float32Array) =>
      Float32Array.from([7, 8, 9].flatMap((n) => [...rows(n)]));
    const keys = batch((n) => rowsOf(4, 1, n).keys);
    const values = batch((n) => rowsOf(4, 1, n).values);
    pool.append(
      slot,
      1,
      1,
      config.caches.map(() => ({ count: 1, keys, values })),
    );
    expect(pool.save(slot, 4).caches).toEqual(config.caches.map(() => rowsOf(4, 1, 8)));
  });
});

describe('the mask', () => {
  it.each([
    { kind: 'sliding', chunks: [], tokens: 4 },
    { kind: 'sliding', chunks: [4], tokens: 30 },
    { kind: 'sliding', chunks: [4, 5], tokens: 1 },
    { kind: 'sliding', chunks: [4, 11], tokens: 7 },
    { kind: 'sliding', chunks: [4, 40], tokens: 1 },
    { kind: 'global', chunks: [4, 40], tokens: 3 },
    { kind: 'global', chunks: [4, 128], tokens: 1 },
  ] as const)('of $tokens tokens over a $kind cache of $chunks rows', ({ kind, chunks, tokens }) => {
    const { pool, slot } = filled(chunks);
    const { length } = slot;
    const caches = kindOf(pool, kind);
    const bias = attentionBias(config, caches, { length, tokens });
    const span = caches.capacity + tokens;
    expect(bias).toHaveLength(tokens * span);

    const positions = new Map<number, number>();
    for (let key = 0; key < length; key++) {
      if (key < config.metaTokens || key >= caches.firstHeld(length)) positions.set(caches.rowOf(key), key);
    }
    for (let i = 0; i < tokens; i++) positions.set(caches.capacity + i, length + i);

    for (const [index, value] of bias.entries()) {
      const query = length + Math.floor(index / span);
      const key = positions.get(index % span);
      expect(value, `query ${query}, key ${key}`).toBe(isVisible(kind, query, key) ? 0 : maskedBias);
    }
    // Every key that the definition lets a query see is there to be seen.
    for (let query = length; query < length + tokens; query++) {
      const held = new Set(positions.values());
      for (let key = 0; key <= query; key++) if (isVisible(kind, query, key)) expect(held).toContain(key);
    }
    if (tokens === 1) expect(caches.decodeBias.view(slot.index)).toEqual(bias);
  });

  function isVisible(kind: KvPool['kind'], query: number, key: number | undefined): boolean {
    if (key === undefined || key > query) return false;
    return kind === 'global' || query - key <= 8 || key < 4;
  }
});

describe('a pool', () => {
  it.each([
    { title: 'of one size', changes: {}, most: 40, numRuns: 40, mostBytes: Number.POSITIVE_INFINITY },
    {
      title: 'that grow and shrink',
      changes: { contextLength: 600, slidingWindow: 200 },
      most: 200,
      numRuns: 20,
      mostBytes: Number.POSITIVE_INFINITY,
    },
    {
      title: 'that keep nothing',
      changes: { contextLength: 600, slidingWindow: 200 },
      most: 200,
      numRuns: 20,
      mostBytes: 0,
    },
  ])(
    'keeps every sequence whole, whoever joins, leaves or is moved, in arrays $title',
    ({ changes, most, numRuns, mostBytes }) => {
      const sizes = { ...config, ...changes };
      const command = fc.oneof(
        { weight: 3, arbitrary: fc.record({ kind: fc.constant('allocate' as const) }) },
        { weight: 2, arbitrary: fc.record({ kind: fc.constant('release' as const), at: fc.nat() }) },
        {
          weight: 6,
          arbitrary: fc.record({
            kind: fc.constant('append' as const),
            at: fc.nat(),
            count: fc.integer({ min: 1, max: most }),
          }),
        },
        {
          weight: 3,
          arbitrary: fc.record({ kind: fc.constant('gather' as const), chosen: fc.array(fc.nat()) }),
        },
      );
      fc.assert(
        fc.property(fc.array(command, { maxLength: 40, size: 'max' }), (commands) => {
          const pool = new StatePool(sizes, 4, mostBytes);
          const sequences = new Map<Slot, number>();
          const slotAt = (at: number) => [...sequences.keys()][at % Math.max(1, sequences.size)];
          for (const [number, command] of commands.entries()) {
            if (command.kind === 'allocate') {
              if (pool.free === 0) expect(() => pool.allocate()).toThrow(RangeError);
              else {
                const slot = pool.allocate();
                sequences.set(slot, number);
                append(pool, slot, config.metaTokens, number);
                for (const array of [...pool.conv, ...pool.ssm]) array.view(slot.index).fill(number);
              }
            } else if (command.kind === 'gather') {
              const chosen = [...new Set(command.chosen.map(slotAt).filter((slot) => slot !== undefined))];
              pool.gather(chosen);
              expect(chosen.map(({ index }) => index).sort()).toEqual([...chosen.keys()]);
            } else {
              const slot = slotAt(command.at);
              if (slot === undefined) continue;
              if (command.kind === 'append') {
                const room = sizes.metaTokens + sizes.contextLength - slot.length;
                append(pool, slot, Math.min(command.count, room), sequences.get(slot));
              } else {
                pool.release(slot);
                sequences.delete(slot);
                expect(() => pool.release(slot)).toThrow(RangeError);
              }
            }
            for (const [slot, sequence] of sequences) check(sizes, pool, slot, sequence);
            expect([...sequences.keys()].map(({ index }) => index).sort()).toEqual(
              [...sequences.keys()].map((_, i) => i),
            );
          }
        }),
        { numRuns },
      );
    },
  );

  function check(sizes: HymbaConfig, pool: StatePool, slot: Slot, sequence: number): void {
    const { index, length } = slot;
    for (const kind of pool.kinds) {
      const first = kind.firstHeld(length);
      for (const cache of kind.caches.values()) {
        expect(kind.read(index, first, length, cache)).toEqual(rowsOf(first, length - first, sequence));
        expect(kind.read(index, 0, 4, cache)).toEqual(rowsOf(0, 4, sequence));
      }
      expect(kind.decodeBias.view(index)).toEqual(attentionBias(sizes, kind, { length, tokens: 1 }));
    }
    for (const array of [...pool.conv, ...pool.ssm]) {
      expect(array.view(index).every((value) => value === sequence)).toBe(true);
    }
  }

  it('gives memory back once its longest sequence is gone', () => {
    const pool = new StatePool(config, 2);
    const [long, short] = [pool.allocate(), pool.allocate()];
    append(pool, long, 132);
    append(pool, short, 4, 1);
    expect(kindOf(pool, 'global').capacity).toBe(132);
    pool.release(long);
    pool.allocate();
    expect(kindOf(pool, 'global').capacity).toBe(128);
    expect(pool.save(short, 4).ssm[0]).toEqual(new Float32Array(config.stateSize * config.innerSize));
  });

  it('keeps within its bound whoever comes after whom, as long as what is in use would', () => {
    const sizes = { ...config, contextLength: 8192, slidingWindow: 1024 };
    const [slots, longest] = [16, sizes.metaTokens + sizes.contextLength];
    const mostBytes = slotBytes(sizes, sizes.contextLength);
    const pool = new StatePool(sizes, slots, mostBytes);
    for (const length of [200, longest, 1000, 200, longest]) {
      const count = Math.min(slots, Math.floor(mostBytes / slotBytes(sizes, length - sizes.metaTokens)));
      const used = Array.from({ length: count }, () => {
        const slot = pool.allocate(length);
        expect(pool.bytes).toBeLessThanOrEqual(mostBytes);
        return slot;
      });
      expect(pool.bytes).toBeGreaterThan(0.5 * mostBytes);
      for (const slot of used) pool.release(slot);
    }
  });

  it('hands out slots without a trace of who had them', () => {
    const { pool, slot } = filled([4, 20]);
    for (const kind of pool.kinds) for (const array of kind.arrays) array.view(slot.index).fill(Number.NaN);
    pool.release(slot);
    const next = pool.allocate();
    for (const kind of pool.kinds) {
      for (const { keys, values } of kind.caches.values()) {
        for (const array of [keys, values])
          expect(array.view(next.index).every((value) => value === 0)).toBe(true);
      }
    }
  });

  it('comes back from what it saved', () => {
    const { pool, slot } = filled([4, 20]);
    for (const [layer, array] of pool.ssm.entries()) array.view(slot.index).fill(layer);
    const memory = structuredClone(pool.save(slot, 4));
    expect(memory.caches.map(({ count }) => count)).toEqual([8, 20, 8]);
    const other = pool.allocate();
    append(pool, other, 4);
    pool.load(other, [{ memory, length: 24 }]);
    expect(other.length).toBe(24);
    expect(pool.save(other, 4)).toEqual(memory);
    for (const kind of pool.kinds) {
      const bias = attentionBias(config, kind, { length: 24, tokens: 1 });
      expect(kind.decodeBias.view(other.index)).toEqual(bias);
    }
  });
});

describe('the size of a slot', () => {
  it('is what its arrays take', () => {
    const pool = new StatePool(config, 3);
    const slot = pool.allocate();
    for (const tokens of [0, 1, 60, 124, 128]) {
      pool.fit(config.metaTokens + tokens, 1);
      const arrays = [...pool.conv, ...pool.ssm, ...pool.kinds.flatMap(({ arrays }) => arrays)];
      const bytes = arrays.reduce((sum, array) => sum + array.view(slot.index).byteLength, 0);
      expect(slotBytes(config, tokens)).toBe(bytes);
      expect(pool.bytes).toBe(bytes);
    }
  });

  it('leaves at most an eighth of a large cache empty', () => {
    for (let rows = 1; rows <= 9000; rows++) {
      const capacity = bucketOf(rows, 8320);
      if (rows > 8320) continue;
      expect(capacity).toBeGreaterThanOrEqual(rows);
      expect(capacity - rows).toBeLessThan(Math.max(128, rows / 8));
    }
  });
});
