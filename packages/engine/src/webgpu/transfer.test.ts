import { graphNames, type HymbaConfig, heldByNone, readConfig } from '@baton/hymba';
import { goldenCheckpoint } from '@baton/testing';
import { beforeAll, describe, expect, it } from 'vitest';
import type { SequenceMemory } from '../state/session-state.ts';
import { capacityFor, rowsByKind } from './gpu-rows.ts';
import { toHost, toMemory } from './transfer.ts';

let config: HymbaConfig;
const chunk = 6;

/** 4 meta tokens, a window of 8, three KV heads with keys of 16 and values of 32; caches: sliding, global, sliding. */
beforeAll(async () => {
  config = await readConfig(goldenCheckpoint('no-sharing'));
});

/** What a sequence could remember at `length`, from position `from` on; every number in it is another. */
function memoryOf(from: number, length: number, seed: number): SequenceMemory {
  let next = seed;
  const numbers = (count: number) => Float32Array.from({ length: count }, () => next++);
  const { kvHeads, keySize, valueSize, convKernel, innerSize, stateSize, layers } = config;
  return {
    caches: config.caches.map(({ kind }) => {
      const first = from < config.metaTokens ? from : rowsByKind(config, chunk)[kind].firstHeld(length);
      const count = length - first;
      const rows = kvHeads * count;
      return { count, keys: numbers(rows * keySize), values: numbers(rows * valueSize) };
    }),
    conv: Array.from({ length: layers }, () => numbers((convKernel - 1) * innerSize)),
    ssm: Array.from({ length: layers }, () => numbers(stateSize * innerSize)),
  };
}

const layoutFor = (room: number) => {
  const rows = rowsByKind(config, chunk);
  return { config, rows, capacity: capacityFor(rows, room) };
};

describe('a memory', () => {
  it.each([
    { length: 5, room: 6 },
    { length: 12, room: 128 },
    { length: 31, room: 32 },
    { length: 127, room: 132 },
  ])('of $length positions comes back from arrays with room for $room as it was', ({ length, room }) => {
    const { metaTokens } = config;
    const start = memoryOf(0, metaTokens, 0);
    const memory = memoryOf(metaTokens, length, 500_000);
    const layout = layoutFor(room);
    const parts = [
      { memory: start, length: metaTokens },
      { memory, length },
    ];
    const host = toHost(layout, parts);
    expect(toMemory(layout, { from: metaTokens, length }, host)).toEqual(memory);
    expect(toMemory(layout, { from: 0, length: metaTokens }, host).caches).toEqual(start.caches);
    // The rows that hold a position say which.
    const held = host.get(graphNames.held('sliding')) ?? new Float32Array();
    const seen = [0, 1, 2, 3, ...Array.from({ length: Math.min(8, length - 4) }, (_, i) => length - 1 - i)];
    expect(
      Array.from(held)
        .filter((position) => position !== heldByNone)
        .sort(),
    ).toEqual(seen.sort());
  });

  it('keeps the states of a channel together on the GPU', () => {
    const memory = memoryOf(0, 4, 0);
    const [ssm = new Float32Array()] = memory.ssm;
    const host = toHost(layoutFor(5), [{ memory, length: 4 }]);
    expect(host.get('ssm_0')?.[1]).toBe(ssm[config.innerSize]);
  });
});

describe('rows', () => {
  it('of a sliding cache go around a window and a chunk, so that a chunk overwrites nothing that it sees', () => {
    const { sliding } = rowsByKind(config, chunk);
    expect(sliding.limit).toBe(20);
    expect([0, 3, 4, 19, 20, 36].map((position) => sliding.rowOf(position))).toEqual([0, 3, 4, 19, 4, 4]);
    expect([sliding.firstHeld(9), sliding.firstHeld(30)]).toEqual([4, 22]);
  });

  it('of a global cache have a row each, by fours', () => {
    const { global } = rowsByKind(config, chunk);
    expect(global.limit).toBe(4 + 128);
    expect([global.rowOf(0), global.rowOf(131)]).toEqual([0, 131]);
    expect([global.capacity(1), global.capacity(129)]).toEqual([128, 132]);
    expect(global.firstHeld(100)).toBe(4);
  });
});
