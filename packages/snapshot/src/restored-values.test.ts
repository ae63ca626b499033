import { type SessionState, type StateDelta, tokensOf } from '@baton/engine';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { fingerprint, held, history, ids, layout, ref, restored, TestBench, upTo } from './test-support.ts';
import { noiseState } from './testing.ts';

describe('a snapshot', () => {
  let bench: TestBench;
  beforeEach(async () => {
    bench = await TestBench.start();
  });
  afterEach(() => bench.stop());

  it.each([1, 63, 64, 65, 99, 100, 101, 127, 128, 129, 163, 164, 165, 228, 300])(
    'of %d tokens comes back bit for bit',
    async (tokens) => {
      const state = [upTo(history, tokens, 0)];
      expect(await bench.open().save(ref, state, ids(400))).toMatchObject({ kind: 'saved', tokens });
      const back = await restored(bench.open(), ids(400));
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
    await bench.open().save(ref, [delta], ids(70));
    expect(held(await restored(bench.open(), ids(70)))).toEqual(held([delta]));
  });

  it('takes two bytes for a float16 key or value, and page by page four where one is not', async () => {
    const unlimited = { ...layout, windows: layout.windows.map(() => null) };
    const rounded = noiseState(unlimited, 400, fingerprint, 1, 'float16');
    const bytesOf = async (delta: StateDelta) => {
      const saved = await bench.open().save(ref, [delta], ids(256));
      if (saved.kind !== 'saved') throw new Error(saved.message);
      expect(held(await restored(bench.open(), ids(256)))).toEqual(held([delta]));
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
    expect(await bench.open(tier).save(ref, [delta], ids(70))).toMatchObject({
      kind: 'failed',
      reason: 'corrupted',
    });
  });

  it.each(['int8', 'compact'] as const)(
    'as %s is close, and no further away after many moves',
    async (tier) => {
      const bound = tier === 'int8' ? 0.02 : 0.3;
      const state = [upTo(history, 256, 0)];
      let moved: SessionState = state;
      const errors: number[] = [];
      await bench.open(tier).save(ref, state, ids(400));
      for (let move = 0; move < 16; move++) {
        const worker = bench.open(tier);
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
