import { type HymbaConfig, readConfig } from '@baton/hymba';
import { goldenCheckpoint } from '@baton/testing';
import { beforeAll, describe, expect, it } from 'vitest';
import type { SequenceMemory } from '../state/session-state.ts';
import { GpuRows } from './gpu-rows.ts';
import { toGpu, toMemory } from './transfer.ts';

let config: HymbaConfig;

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
      const first = from < config.metaTokens ? from : new GpuRows(config, kind, length).firstHeld(length);
      const count = length - first;
      const rows = kvHeads * count;
      return { count, keys: numbers(rows * keySize), values: numbers(rows * valueSize) };
    }),
    conv: Array.from({ length: layers }, () => numbers((convKernel - 1) * innerSize)),
    ssm: Array.from({ length: layers }, () => numbers(stateSize * innerSize)),
  };
}

describe('a memory', () => {
  it.each([
    { length: 5, room: 6 },
    { length: 12, room: 128 },
    { length: 31, room: 32 },
    { length: 127, room: 132 },
  ])('of $length positions comes back from tensors with room for $room as it was', ({ length, room }) => {
    const { metaTokens } = config;
    const start = memoryOf(0, metaTokens, 0);
    const memory = memoryOf(metaTokens, length, 500_000);
    const { rows, tensors } = toGpu(
      config,
      [
        { memory: start, length: metaTokens },
        { memory, length },
      ],
      room,
    );
    const host = new Map(
      Array.from(tensors, ([name, { data }]) => [name, Float32Array.from(data as Float32Array)]),
    );
    expect(toMemory(config, rows, { from: metaTokens, length }, host)).toEqual(memory);
    expect(toMemory(config, rows, { from: 0, length: metaTokens }, host).caches).toEqual(start.caches);
  });

  it('keeps the states of a channel together on the GPU', () => {
    const memory = memoryOf(0, 4, 0);
    const [ssm = new Float32Array()] = memory.ssm;
    const tensor = toGpu(config, [{ memory, length: 4 }], 5).tensors.get('ssm_0');
    expect(tensor?.dims).toEqual([1, config.innerSize, config.stateSize, 1]);
    expect(tensor?.data[1]).toBe(ssm[config.innerSize]);
  });
});

describe('new rows', () => {
  /** Rows of the first head. */
  const rowsOf = (rows: GpuRows, length: number, count: number) =>
    Array.from({ length: count }, (_, i) => Number(rows.scatterIndices(length, count)[i * 3 + 2]));

  it('go around a window, those that leave it at once to a row that is never shown', () => {
    const rows = new GpuRows(config, 'sliding', 100);
    expect(rows.capacity).toBe(4 + 8 + 1);
    expect(rowsOf(rows, 0, 4)).toEqual([0, 1, 2, 3]);
    expect(rowsOf(rows, 10, 4)).toEqual([10, 11, 4, 5]);
    expect(rowsOf(rows, 10, 11)).toEqual([12, 12, 12, 5, 6, 7, 8, 9, 10, 11, 4]);
  });

  it('have a row each in a global cache, which doubles', () => {
    const rows = new GpuRows(config, 'global', 128);
    expect(rows.capacity).toBe(129);
    expect(rowsOf(rows, 100, 3)).toEqual([100, 101, 102]);
    expect([rows.hasRoomFor(128), rows.hasRoomFor(129)]).toEqual([true, false]);
    expect(new GpuRows(config, 'global', 129).capacity).toBe(4 + 128 + 1);
  });

  it('name their head', () => {
    const indices = new GpuRows(config, 'global', 8).scatterIndices(6, 2);
    expect([...indices].map(Number)).toEqual([0, 0, 6, 0, 0, 7, 0, 1, 6, 0, 1, 7, 0, 2, 6, 0, 2, 7]);
  });
});
