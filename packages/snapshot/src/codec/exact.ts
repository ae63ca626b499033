import type { KernelMemory } from './kernels.ts';
import { fill, type Section } from './sections.ts';

/** Values [matrices, rows, columns] of a state. */
export interface Shape {
  readonly matrices: number;
  readonly rows: number;
  readonly columns: number;
}

/** Values, and what copies them to where they are packed. */
export interface Source extends Shape {
  copy(to: Float32Array): void;
}

/** Values as they are, to the bit: as float16 numbers where all are such and `halves` says to try, else as float32. */
export function encodeExact(memory: KernelMemory, sources: readonly Source[], halves: boolean): Section[] {
  const packed = halves ? pack(memory, new Halves(memory, sources), sources) : null;
  if (packed) return packed;
  memory.clear();
  return pack(memory, new Planes(memory, sources), sources) ?? [];
}

/** Throws `SnapshotRefusal` for sections of another size than `shapes` have. */
export function decodeExact(
  memory: KernelMemory,
  shapes: readonly Shape[],
  sections: readonly Uint8Array[],
  targets: readonly Float32Array[],
): void {
  const packed = sections.length === 3 ? new Halves(memory, shapes) : new Planes(memory, shapes);
  fill(packed.sections, sections);
  const room = roomFor(memory, shapes);
  for (const [at, shape] of shapes.entries()) {
    packed.unpack(room, shape);
    targets[at]?.set(memory.floats(room, countOf(shape)));
  }
}

/** Where the bytes of values lie in the kernels' memory, and how far they have come. */
interface Packed {
  readonly sections: Section[];
  /** The next values; false where they cannot be packed this way. */
  pack(values: number, shape: Shape): boolean;
  unpack(values: number, shape: Shape): void;
}

function pack(memory: KernelMemory, packed: Packed, sources: readonly Source[]): Section[] | null {
  const room = roomFor(memory, sources);
  for (const source of sources) {
    source.copy(memory.floats(room, countOf(source)));
    if (!packed.pack(room, source)) return null;
  }
  return packed.sections;
}

/** All first bytes of float32, which are exponents, and the other three. */
class Planes implements Packed {
  readonly #memory: KernelMemory;
  readonly #total: number;
  readonly #planes: number;
  #first = 0;

  constructor(memory: KernelMemory, shapes: readonly Shape[]) {
    this.#memory = memory;
    this.#total = sum(shapes, countOf);
    this.#planes = memory.take(4 * this.#total);
  }

  get sections(): Section[] {
    const [memory, planes, total] = [this.#memory, this.#planes, this.#total];
    return [
      { bytes: memory.bytes(planes, total), compress: true },
      { bytes: memory.bytes(planes + total, 3 * total), compress: false },
    ];
  }

  pack(values: number, shape: Shape): boolean {
    const count = countOf(shape);
    this.#memory.run.toPlanes(values, count, this.#planes, this.#first, this.#total);
    this.#first += count;
    return true;
  }

  unpack(values: number, shape: Shape): void {
    const count = countOf(shape);
    this.#memory.run.fromPlanes(this.#planes, this.#first, this.#total, values, count);
    this.#first += count;
  }
}

/** Each column's largest exponent, the first bytes of float16 without it, and the second ones. */
class Halves implements Packed {
  readonly #memory: KernelMemory;
  readonly #total: number;
  readonly #columns: number;
  readonly #offsets: number;
  readonly #high: number;
  readonly #low: number;
  #value = 0;
  #column = 0;

  constructor(memory: KernelMemory, shapes: readonly Shape[]) {
    this.#memory = memory;
    this.#total = sum(shapes, countOf);
    this.#columns = sum(shapes, ({ matrices, columns }) => matrices * columns);
    this.#offsets = memory.take(this.#columns);
    this.#high = memory.take(this.#total);
    this.#low = memory.take(this.#total);
  }

  get sections(): Section[] {
    const memory = this.#memory;
    return [
      { bytes: memory.bytes(this.#offsets, this.#columns), compress: true },
      { bytes: memory.bytes(this.#high, this.#total), compress: true },
      { bytes: memory.bytes(this.#low, this.#total), compress: false },
    ];
  }

  pack(values: number, shape: Shape): boolean {
    const { toHalves } = this.#memory.run;
    for (const { at, offsets, high, low } of this.#matrices(values, shape)) {
      if (!toHalves(at, shape.rows, shape.columns, offsets, high, low)) return false;
    }
    return true;
  }

  unpack(values: number, shape: Shape): void {
    const { fromHalves } = this.#memory.run;
    for (const { at, offsets, high, low } of this.#matrices(values, shape)) {
      fromHalves(high, low, shape.rows, shape.columns, offsets, at);
    }
  }

  *#matrices(values: number, { matrices, rows, columns }: Shape) {
    for (let matrix = 0; matrix < matrices; matrix++) {
      yield {
        at: values + 4 * matrix * rows * columns,
        offsets: this.#offsets + this.#column,
        high: this.#high + this.#value,
        low: this.#low + this.#value,
      };
      this.#value += rows * columns;
      this.#column += columns;
    }
  }
}

function countOf({ matrices, rows, columns }: Shape): number {
  return matrices * rows * columns;
}

function roomFor(memory: KernelMemory, shapes: readonly Shape[]): number {
  return memory.take(4 * Math.max(...shapes.map(countOf)));
}

function sum<T>(items: readonly T[], of: (item: T) => number): number {
  return items.reduce((total, item) => total + of(item), 0);
}
