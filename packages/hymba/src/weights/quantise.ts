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
  const rows = values.length / columns;
  const blocks = Math.ceil(columns / blockSize);
  const blockBytes = (blockSize * bits) / 8;
  const data = new Uint8Array(rows * blocks * blockBytes);
  const scales = new Float32Array(rows * blocks);
  const levels = new Uint8Array(blockSize);
  for (let block = 0; block < scales.length; block++) {
    const row = Math.floor(block / blocks);
    const from = (block % blocks) * blockSize;
    const end = row * columns + Math.min(columns, from + blockSize);
    const part = values.subarray(row * columns + from, end);
    const scale = bits === 4 ? bestScale(part) : fullRangeScale(part, bits);
    scales[block] = scale;
    levels.fill(2 ** (bits - 1));
    for (const [i, value] of part.entries()) levels[i] = level(value, scale, bits);
    pack(levels, bits, data.subarray(block * blockBytes));
  }
  return { data, scales };
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
function fullRangeScale(values: Float32Array, bits: 4 | 8): number {
  let extreme = 0;
  for (const value of values) if (Math.abs(value) > Math.abs(extreme)) extreme = value;
  return Math.fround(extreme / -(2 ** (bits - 1)));
}

/** The 4-bit scale of least squared error among those that refitting the full range's leads to. */
function bestScale(values: Float32Array): number {
  let scale = fullRangeScale(values, 4);
  let best = scale;
  let least = Number.POSITIVE_INFINITY;
  for (let round = 0; round < 4; round++) {
    let error = 0;
    let product = 0;
    let square = 0;
    for (const value of values) {
      const whole = level(value, scale, 4) - 8;
      error += (value - whole * scale) ** 2;
      product += value * whole;
      square += whole * whole;
    }
    if (error >= least) break;
    [best, least] = [scale, error];
    if (square === 0) break;
    // The best scale for these levels, by least squares; it may move some values to other levels.
    scale = Math.fround(product / square);
  }
  return best;
}

function level(value: number, scale: number, bits: 4 | 8): number {
  const middle = 2 ** (bits - 1);
  if (scale === 0) return middle;
  return Math.max(0, Math.min(2 * middle - 1, Math.round(value / scale) + middle));
}

function pack(levels: Uint8Array, bits: 4 | 8, into: Uint8Array): void {
  if (bits === 8) {
    into.set(levels);
    return;
  }
  for (let i = 0; i < levels.length; i += 2) into[i / 2] = (levels[i] ?? 0) | ((levels[i + 1] ?? 0) << 4);
}
