export interface Quantised<Data extends Uint8Array | Int8Array> {
  readonly data: Data;
  readonly scales: Float32Array;
}

/** Largest magnitude of an int8 weight: two products of it with an int8 input still fit the 16 bits that AVX2 adds in. */
const largestRowWeight = 63;

/**
 * Quantises rows [rows, columns] in blocks of successive columns, each with a scale: `weight ≈ scale · (stored - 2^(bits-1))`.
 * The last block of a row is filled up with zeros. 4-bit values lie two in a byte, the first in the low half.
 * Gives data [rows, blocks, blockSize · bits / 8] and scales [rows, blocks].
 */
export function quantiseBlocks(
  values: Float32Array,
  columns: number,
  { bits, blockSize }: { readonly bits: 4 | 8; readonly blockSize: number },
): Quantised<Uint8Array> {
  const blocks = Math.ceil(columns / blockSize);
  const rows = values.length / columns;
  const middle = 2 ** (bits - 1);
  const levels = new Uint8Array(rows * blocks * blockSize).fill(middle);
  const scales = new Float32Array(rows * blocks);
  for (const block of scales.keys()) {
    const column = (block % blocks) * blockSize;
    const from = Math.floor(block / blocks) * columns + column;
    const end = from + Math.min(blockSize, columns - column);
    const scale = fullRangeScale(values, from, end, middle);
    scales[block] = scale;
    if (scale === 0) continue;
    const at = block * blockSize - from;
    for (let i = from; i < end; i++) levels[at + i] = levelOf(values[i] ?? 0, 1 / scale, middle);
  }
  return { data: bits === 8 ? levels : inPairs(levels), scales };
}

/** Quantises rows [rows, columns] to int8 with one scale for each: `weight ≈ scale · stored`. */
export function quantiseRows(values: Float32Array, columns: number): Quantised<Int8Array> {
  const data = new Int8Array(values.length);
  const scales = new Float32Array(values.length / columns);
  for (const row of scales.keys()) {
    const from = row * columns;
    let largest = 0;
    for (let i = from; i < from + columns; i++) largest = Math.max(largest, Math.abs(values[i] ?? 0));
    const scale = Math.fround(largest / largestRowWeight);
    scales[row] = scale;
    if (scale === 0) continue;
    for (let i = from; i < from + columns; i++) {
      const rounded = Math.round((values[i] ?? 0) / scale);
      data[i] = Math.max(-largestRowWeight, Math.min(largestRowWeight, rounded));
    }
  }
  return { data, scales };
}

/** [rows, columns] → [columns, rows] */
export function transpose(data: Int8Array, columns: number): Int8Array {
  const rows = data.length / columns;
  const result = new Int8Array(data.length);
  const tile = 64;
  // Tile by tile, since a whole column touches a cache line for every row.
  for (let row = 0; row < rows; row += tile) {
    for (let column = 0; column < columns; column += tile) {
      for (let r = row; r < Math.min(rows, row + tile); r++) {
        for (let c = column; c < Math.min(columns, column + tile); c++) {
          result[c * rows + r] = data[r * columns + c] ?? 0;
        }
      }
    }
  }
  return result;
}

/** Puts the value of the largest magnitude on the lowest level, of which there is one more than of positive ones. */
function fullRangeScale(values: Float32Array, from: number, end: number, middle: number): number {
  let extreme = 0;
  for (let i = from; i < end; i++) {
    const value = values[i] ?? 0;
    if (Math.abs(value) > Math.abs(extreme)) extreme = value;
  }
  return Math.fround(extreme / -middle);
}

/** The nearest of the 2 · middle levels, of which `middle` stands for zero. */
function levelOf(value: number, inverseScale: number, middle: number): number {
  const level = Math.floor(value * inverseScale + middle + 0.5);
  return level < 0 ? 0 : level >= 2 * middle ? 2 * middle - 1 : level;
}

/** Two levels in a byte, the first in the low half. */
function inPairs(levels: Uint8Array): Uint8Array {
  const pairs = new Uint8Array(levels.length / 2);
  for (let i = 0; i < pairs.length; i++) pairs[i] = (levels[2 * i] ?? 0) | ((levels[2 * i + 1] ?? 0) << 4);
  return pairs;
}
