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

  it('keep every weight within half a level, or within one where the positive side lacks the last', () => {
    fc.assert(
      fc.property(matrix, ({ columns, values }) => {
        const { data, scales } = quantiseBlocks(values, columns, encoding);
        const found = dequantiseBlocks({ data, scales }, columns, encoding);
        const blocks = Math.ceil(columns / blockSize);
        for (const [i, value] of values.entries()) {
          const block = Math.floor(i / columns) * blocks + Math.floor((i % columns) / blockSize);
          const scale = scales[block] ?? Number.NaN;
          const half = value / scale <= levels / 2 - 0.5 ? 0.5 : 1;
          const error = Math.abs(value - (found[i] ?? Number.NaN));
          expect(error).toBeLessThanOrEqual(Math.abs(scale) * half * (1 + 1e-5) + 1e-9);
        }
      }),
    );
  });

  it('reach as far as the largest weight of a block, and no further', () => {
    fc.assert(
      fc.property(matrix, ({ columns, values }) => {
        const { scales } = quantiseBlocks(values, columns, encoding);
        const largest = values.reduce((a, b) => Math.max(a, Math.abs(b)), 0);
        expect(Math.max(...scales.map(Math.abs))).toBeCloseTo(largest / (levels / 2), 6);
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
