import type { Quantised } from '../weights/quantise.ts';

/** What weights in blocks stand for, written down plainly: [rows, columns]. */
export function dequantiseBlocks(
  { data, scales }: Quantised<Uint8Array>,
  columns: number,
  { bits, blockSize }: { readonly bits: 4 | 8; readonly blockSize: number },
): Float32Array {
  const blocks = Math.ceil(columns / blockSize);
  const rows = scales.length / blocks;
  return Float32Array.from({ length: rows * columns }, (_, i) => {
    const row = Math.floor(i / columns);
    const column = i % columns;
    const at = row * blocks * blockSize + column;
    const level = bits === 8 ? (data[at] ?? 0) : ((data[at >> 1] ?? 0) >> (4 * (at % 2))) & 15;
    return (level - 2 ** (bits - 1)) * (scales[row * blocks + Math.floor(column / blockSize)] ?? 0);
  });
}

/** What int8 rows with a scale each stand for: [rows, columns]. */
export function dequantiseRows({ data, scales }: Quantised<Int8Array>, columns: number): Float32Array {
  return Float32Array.from(data, (value, i) => value * (scales[Math.floor(i / columns)] ?? 0));
}
