import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { dequantiseBlocks, dequantiseRows } from '../testing/dequantise.ts';
import { quantiseBlocks, quantiseRows, transpose } from './quantise.ts';

const weight = fc.float({ min: -2, max: 2, noNaN: true });
const matrix = fc
  .tuple(fc.integer({ min: 1, max: 5 }), fc.integer({ min: 1, max: 150 }))
  .chain(([rows, columns]) =>
    fc
      .array(weight, { minLength: rows * columns, maxLength: rows * columns })
      .map((values) => ({ columns, values: Float32Array.from(values) })),
  );

describe.each([
  { bits: 4, blockSize: 32 },
  { bits: 4, blockSize: 64 },
  { bits: 8, blockSize: 64 },
] as const)('$bits bits in blocks of $blockSize', (encoding) => {
  const { bits, blockSize } = encoding;
  const levels = 2 ** bits;

  it('lose no more than plain rounding to the full range does', () => {
    fc.assert(
      fc.property(matrix, ({ columns, values }) => {
        const found = dequantiseBlocks(quantiseBlocks(values, columns, encoding), columns, encoding);
        for (const { from, end } of blocksOf(values.length, columns, blockSize)) {
          const block = values.subarray(from, end);
          const error = squaredError(block, found.subarray(from, end));
          expect(error).toBeLessThanOrEqual(plainError(block, levels) * (1 + 1e-5) + 1e-12);
        }
      }),
    );
  });

  it('keep every weight within the bound that its block sets', () => {
    fc.assert(
      fc.property(matrix, ({ columns, values }) => {
        const found = dequantiseBlocks(quantiseBlocks(values, columns, encoding), columns, encoding);
        for (const { from, end } of blocksOf(values.length, columns, blockSize)) {
          const block = values.subarray(from, end);
          const largest = Math.max(...block.map(Math.abs));
          // The positive side lacks the last level; and fitting a 4-bit scale may clip a few weights for the good of all.
          const bound = bits === 8 ? largest / 128 : largest / 2;
          for (const [i, value] of block.entries()) {
            expect(Math.abs(value - (found[from + i] ?? Number.NaN))).toBeLessThanOrEqual(
              bound * (1 + 1e-5) + 1e-9,
            );
          }
        }
      }),
    );
  });

  it('keep what they can hold as it is', () => {
    const scale = 0.25;
    const values = Float32Array.from(
      { length: 2 * blockSize },
      (_, i) => ((i % levels) - levels / 2) * scale,
    );
    expect(dequantiseBlocks(quantiseBlocks(values, blockSize, encoding), blockSize, encoding)).toEqual(
      values,
    );
  });

  it('fill a row up with zeros', () => {
    const values = new Float32Array(2 * 5).fill(-1);
    const { data, scales } = quantiseBlocks(values, 5, encoding);
    expect(scales).toHaveLength(2);
    const rows = dequantiseBlocks({ data, scales }, blockSize, encoding);
    for (const row of [0, 1]) {
      expect([...rows.subarray(row * blockSize, row * blockSize + 6)]).toEqual([-1, -1, -1, -1, -1, 0]);
    }
  });
});

describe('int8 rows', () => {
  it('keep every weight within half a level, and no level beyond 63', () => {
    fc.assert(
      fc.property(matrix, ({ columns, values }) => {
        const quantised = quantiseRows(values, columns);
        const found = dequantiseRows(quantised, columns);
        expect(Math.max(...quantised.data.map(Math.abs))).toBeLessThanOrEqual(63);
        for (const [i, value] of values.entries()) {
          const scale = quantised.scales[Math.floor(i / columns)] ?? 0;
          expect(Math.abs(value - (found[i] ?? Number.NaN))).toBeLessThanOrEqual(scale / 2 + 1e-6);
        }
      }),
    );
  });

  it('are transposed and back again the same', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 200 }), fc.integer({ min: 1, max: 200 }), (rows, columns) => {
        const data = Int8Array.from({ length: rows * columns }, (_, i) => i * 7);
        const turned = transpose(data, columns);
        expect(turned[(columns - 1) * rows]).toBe(data[columns - 1]);
        expect(transpose(turned, rows)).toEqual(data);
      }),
    );
  });
});

function* blocksOf(length: number, columns: number, blockSize: number) {
  for (let row = 0; row < length; row += columns) {
    for (let from = row; from < row + columns; from += blockSize) {
      yield { from, end: Math.min(row + columns, from + blockSize) };
    }
  }
}

function squaredError(values: Float32Array, found: Float32Array): number {
  return values.reduce((sum, value, i) => sum + (value - (found[i] ?? Number.NaN)) ** 2, 0);
}

/** Of rounding with the value of the largest magnitude on the lowest level. */
function plainError(values: Float32Array, levels: number): number {
  const extreme = values.reduce((a, b) => (Math.abs(b) > Math.abs(a) ? b : a), 0);
  const scale = Math.fround(extreme / (-levels / 2)) || 1;
  const rounded = values.map(
    (value) => Math.max(-levels / 2, Math.min(levels / 2 - 1, Math.round(value / scale))) * scale,
  );
  return squaredError(values, rounded);
}
