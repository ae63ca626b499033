const blockRows = 500;
/** Of fewer, making views costs more than they spare. */
const fewRows = 32;

/**
 * Copies rows [count, width] to columns [width, stride] and back. A block at a time is turned in memory of its own, which
 * stays near the core, and goes to and from the columns in long runs: in those every element has a line of memory to itself.
 */
export class Columns {
  readonly #width: number;
  /** [width, blockRows] */
  readonly #block: Float32Array;

  constructor(width: number) {
    this.#width = width;
    this.#block = new Float32Array(width * blockRows);
  }

  /** To columns of which the first one begins at `at`, `stride` apart, from rows that begin at `from`. */
  write(columns: Float32Array, at: number, stride: number, rows: Float32Array, from: number, count: number) {
    const width = this.#width;
    const block = this.#block;
    if (count < fewRows) {
      for (let n = 0; n < count; n++)
        for (let i = 0; i < width; i++) columns[at + i * stride + n] = rows[from + n * width + i] as number;
      return;
    }
    for (let first = 0; first < count; first += blockRows) {
      const length = Math.min(blockRows, count - first);
      for (let n = 0; n < length; n++) {
        const row = from + (first + n) * width;
        for (let i = 0; i < width; i++) block[i * blockRows + n] = rows[row + i] as number;
      }
      for (let i = 0; i < width; i++)
        columns.set(block.subarray(i * blockRows, i * blockRows + length), at + i * stride + first);
    }
  }

  /** What `write` wrote, to rows that begin at `to`. */
  read(columns: Float32Array, at: number, stride: number, rows: Float32Array, to: number, count: number) {
    const width = this.#width;
    const block = this.#block;
    if (count < fewRows) {
      for (let n = 0; n < count; n++)
        for (let i = 0; i < width; i++) rows[to + n * width + i] = columns[at + i * stride + n] as number;
      return;
    }
    for (let first = 0; first < count; first += blockRows) {
      const length = Math.min(blockRows, count - first);
      for (let i = 0; i < width; i++) {
        const start = at + i * stride + first;
        block.set(columns.subarray(start, start + length), i * blockRows);
      }
      for (let n = 0; n < length; n++) {
        const row = to + (first + n) * width;
        for (let i = 0; i < width; i++) rows[row + i] = block[i * blockRows + n] as number;
      }
    }
  }
}
