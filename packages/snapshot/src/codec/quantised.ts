import { SnapshotRefusal } from '../refusal.ts';
import type { KernelMemory } from './kernels.ts';
import type { Quantiser } from './quantisers.ts';
import type { Section } from './sections.ts';

type Form = 'Columns' | 'Rows' | 'Wide';

/** Where in the kernels' memory the scales and codes of a page are, and how far they have come. */
export class Quantised {
  readonly #memory: KernelMemory;
  readonly #quantiser: Quantiser;
  readonly #count: number;
  readonly #scaleCount: number;
  readonly #scales: number;
  readonly #codes: number;
  #value = 0;
  #scale = 0;

  constructor(memory: KernelMemory, count: number, scaleCount: number, quantiser: Quantiser) {
    this.#memory = memory;
    this.#quantiser = quantiser;
    this.#count = count;
    this.#scaleCount = scaleCount;
    this.#scales = memory.take(2 * scaleCount);
    this.#codes = memory.take((this.wide ? 2 : 1) * count);
  }

  /** Whether codes take two bytes. */
  get wide(): boolean {
    return this.#quantiser.limit > 127;
  }

  /** The next values: [rows, columns], or `rows` of them of which `columns` share a scale. */
  quantise(kernel: `quantise${Form}`, values: number, rows: number, columns: number): void {
    const { limit, step, coarse } = this.#quantiser;
    const { scales, codes, high } = this.#next(kernel === 'quantiseColumns', rows, columns);
    const run = this.#memory.run[kernel];
    if (run(values, rows, columns, limit, step, coarse, scales, codes, high)) return;
    throw new SnapshotRefusal('corrupted', 'the state has numbers that are none');
  }

  dequantise(kernel: `dequantise${Form}`, values: number, rows: number, columns: number): void {
    const { scales, codes, high } = this.#next(kernel === 'dequantiseColumns', rows, columns);
    this.#memory.run[kernel](codes, rows, columns, this.#quantiser.limit, scales, values, high);
  }

  /** All scales and all codes, where they lie. */
  get sections(): Section[] {
    const memory = this.#memory;
    const count = this.#count;
    const scales = { bytes: memory.bytes(this.#scales, 2 * this.#scaleCount), compress: true };
    if (this.wide) {
      const high = { bytes: memory.bytes(this.#codes + count, count), compress: true };
      return [scales, high, { bytes: memory.bytes(this.#codes, count), compress: false }];
    }
    return [scales, { bytes: memory.bytes(this.#codes, count), compress: true }];
  }

  #next(byColumn: boolean, rows: number, columns: number) {
    const at = this.#value;
    const scale = this.#scale;
    this.#value += byColumn ? rows * columns : rows;
    this.#scale += byColumn ? columns : Math.ceil(rows / columns);
    const codes = this.#codes + at;
    return { scales: this.#scales + 2 * scale, codes, high: codes + this.#count };
  }
}
