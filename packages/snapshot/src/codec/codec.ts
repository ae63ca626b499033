import { type StateLayout, sharedFloats } from '@baton/engine';
import { decodeExact, encodeExact, type Shape } from './exact.ts';
import { KernelMemory } from './kernels.ts';
import { Quantised } from './quantised.ts';
import { type Lossy, quantisers } from './quantisers.ts';
import { Angles, type Rotation } from './rotation.ts';
import { fill, type Section } from './sections.ts';
import type { PageTier } from './tiers.ts';

/** Rows [heads, count, width] of one cache. */
export interface Rows {
  readonly keys: Float32Array;
  readonly values: Float32Array;
}

/** Some of the rows of one cache, from row `at` of the `held` ones. */
export interface RowsWithin extends Rows {
  readonly held: number;
  readonly at: number;
}

export interface RowRange {
  readonly first: number;
  readonly count: number;
}

/** The recurrent states: the convolution's and the scan's. */
export type RecurrentPart = 'conv' | 'ssm';

/** Values of a recurrent state that share a scale. */
const block = 64;

/** State to bytes and back, as FORMAT.md says. One page at a time. */
export class Codec {
  readonly layout: StateLayout;
  readonly #memory = new KernelMemory();
  readonly #angles: Angles;

  constructor(layout: StateLayout) {
    this.layout = layout;
    this.#angles = new Angles(layout);
  }

  /** Rows of several caches → the sections of a page. Throws `SnapshotRefusal` where a lossy tier meets a number that is none. */
  encodeRows(caches: readonly RowsWithin[], range: RowRange, tier: PageTier): Section[] {
    const { kvHeads, keySize, valueSize } = this.layout;
    const { count } = range;
    const memory = this.#memory;
    memory.clear();
    const [keyCount, valueCount] = [kvHeads * count * keySize, kvHeads * count * valueSize];
    if (tier === 'exact') {
      const [keyShape, valueShape] = this.#rowShapes(count);
      const sources = caches.flatMap((rows) => [
        { ...keyShape, copy: (to: Float32Array) => copyRows(rows.keys, to, rows, count, keySize) },
        { ...valueShape, copy: (to: Float32Array) => copyRows(rows.values, to, rows, count, valueSize) },
      ]);
      return encodeExact(memory, sources, true);
    }
    const rotation = this.#angles.put(range, 'back', memory);
    const codes = this.#rowCodes(caches.length, count, tier);
    const room = memory.take(4 * Math.max(keyCount, valueCount));
    for (const rows of caches) {
      copyRows(rows.keys, memory.floats(room, keyCount), rows, count, keySize);
      this.#turn(room, count, rotation);
      for (let head = 0; head < kvHeads; head++) {
        // A channel of a key head keeps its size over many tokens, and a token's values have a size of their own.
        codes.quantise('quantiseColumns', room + 4 * head * count * keySize, count, keySize);
      }
      copyRows(rows.values, memory.floats(room, valueCount), rows, count, valueSize);
      codes.quantise('quantiseRows', room, valueCount, valueSize);
    }
    return codes.sections;
  }

  /** Throws `SnapshotRefusal` for sections of another size. */
  decodeRows(sections: readonly Uint8Array[], caches: number, range: RowRange, tier: PageTier): Rows[] {
    const { kvHeads, keySize, valueSize } = this.layout;
    const { count } = range;
    const memory = this.#memory;
    memory.clear();
    const [keyCount, valueCount] = [kvHeads * count * keySize, kvHeads * count * valueSize];
    const floats = floatsOf(Array.from({ length: caches }, () => [keyCount, valueCount]).flat());
    const rows = Array.from(
      { length: caches },
      (_, cache): Rows => ({
        keys: floats[2 * cache] as Float32Array,
        values: floats[2 * cache + 1] as Float32Array,
      }),
    );
    if (tier === 'exact') {
      const shapes = rows.flatMap(() => this.#rowShapes(count));
      decodeExact(memory, shapes, sections, floats);
      return rows;
    }
    const rotation = this.#angles.put(range, 'forth', memory);
    const codes = this.#rowCodes(caches, count, tier);
    fill(codes.sections, sections);
    const room = memory.take(4 * Math.max(keyCount, valueCount));
    for (const { keys, values } of rows) {
      for (let head = 0; head < kvHeads; head++) {
        codes.dequantise('dequantiseColumns', room + 4 * head * count * keySize, count, keySize);
      }
      this.#turn(room, count, rotation);
      keys.set(memory.floats(room, keyCount));
      codes.dequantise('dequantiseRows', room, valueCount, valueSize);
      values.set(memory.floats(room, valueCount));
    }
    return rows;
  }

  /** The states of all layers → the sections of a page. Throws as `encodeRows`. */
  encodeRecurrent(states: readonly Float32Array[], part: RecurrentPart, tier: PageTier): Section[] {
    const memory = this.#memory;
    memory.clear();
    if (tier === 'exact') {
      const sources = states.map((values) => ({
        ...vector(values),
        copy: (to: Float32Array) => to.set(values),
      }));
      return encodeExact(memory, sources, false);
    }
    const { codes, room } = this.#recurrentCodes([part], tier);
    for (const values of states) {
      memory.floats(room, values.length).set(values);
      codes.quantise(codes.wide ? 'quantiseWide' : 'quantiseRows', room, values.length, block);
    }
    return codes.sections;
  }

  /** Gives the states of all layers, part by part. Throws as `decodeRows`. */
  decodeRecurrent(
    sections: readonly Uint8Array[],
    parts: readonly RecurrentPart[],
    tier: PageTier,
  ): Float32Array[][] {
    const { layers } = this.layout;
    const memory = this.#memory;
    memory.clear();
    const floats = floatsOf(parts.flatMap((part) => Array<number>(layers).fill(this.#recurrentCount(part))));
    if (tier === 'exact') {
      decodeExact(memory, floats.map(vector), sections, floats);
    } else {
      const { codes, room } = this.#recurrentCodes(parts, tier);
      fill(codes.sections, sections);
      for (const values of floats) {
        codes.dequantise(codes.wide ? 'dequantiseWide' : 'dequantiseRows', room, values.length, block);
        values.set(memory.floats(room, values.length));
      }
    }
    return parts.map((_, at) => floats.slice(at * layers, (at + 1) * layers));
  }

  /** Values of one layer. */
  #recurrentCount(part: RecurrentPart): number {
    const [rows, channels] = this.layout[part];
    return rows * channels;
  }

  /** Of the keys and of the values of one cache. */
  #rowShapes(rows: number): [Shape, Shape] {
    const { kvHeads: matrices, keySize, valueSize } = this.layout;
    return [
      { matrices, rows, columns: keySize },
      { matrices, rows, columns: valueSize },
    ];
  }

  #rowCodes(caches: number, count: number, tier: Lossy): Quantised {
    const { kvHeads, keySize, valueSize } = this.layout;
    const all = caches * kvHeads;
    return new Quantised(
      this.#memory,
      all * count * (keySize + valueSize),
      all * (keySize + count),
      quantisers[tier].rows,
    );
  }

  #recurrentCodes(
    parts: readonly RecurrentPart[],
    tier: Lossy,
  ): { readonly codes: Quantised; readonly room: number } {
    const { layers } = this.layout;
    const counts = parts.map((part) => this.#recurrentCount(part));
    const scales = counts.reduce((sum, count) => sum + Math.ceil(count / block), 0);
    const all = layers * counts.reduce((sum, count) => sum + count, 0);
    return {
      codes: new Quantised(this.#memory, all, layers * scales, quantisers[tier].recurrent),
      room: this.#memory.take(4 * Math.max(...counts)),
    };
  }

  #turn(keys: number, count: number, rotation: Rotation | null): void {
    const { kvHeads, keySize } = this.layout;
    if (rotation) this.#memory.run.rotate(keys, kvHeads, count, keySize, rotation.cos, rotation.sin);
  }
}

/** Arrays of these lengths, in one piece of shared memory. */
function floatsOf(lengths: readonly number[]): Float32Array[] {
  const all = sharedFloats(lengths.reduce((sum, length) => sum + length, 0));
  let end = 0;
  return lengths.map((length) => {
    end += length;
    return all.subarray(end - length, end);
  });
}

/** The rows of `within`, [heads, held, width], that are to be encoded → [heads, count, width]. */
function copyRows(
  all: Float32Array,
  to: Float32Array,
  { held, at }: Pick<RowsWithin, 'held' | 'at'>,
  count: number,
  width: number,
): void {
  for (let from = at * width, target = 0; target < to.length; from += held * width, target += count * width) {
    to.set(all.subarray(from, from + count * width), target);
  }
}

function vector({ length }: Float32Array): Shape {
  return { matrices: 1, rows: 1, columns: length };
}
