import { SnapshotRefusal } from '../refusal.ts';
import { scaleBits, scaleOf } from './scales.ts';

/** A uniform quantiser with codes from `-limit` to `limit`. */
export interface Quantiser {
  readonly limit: number;
  /**
   * The least step, in root mean squares of the values that share it: 0 spends all codes on the largest value, and more
   * makes small codes likelier, which entropy coding turns into fewer bits.
   */
  readonly step: number;
}

export const sixteenBits: Quantiser = { limit: 32_767, step: 0 };
export const eightBits: Quantiser = { limit: 127, step: 0 };
/** About 3.4 and 2.9 bits a value after entropy coding, where values are spread like a Gaussian. */
export const fineBits: Quantiser = { limit: 7, step: 0.36 };
export const coarseBits: Quantiser = { limit: 7, step: 0.6 };

/** Where values that share a scale lie: `count` of them, `stride` apart, from `first` on. */
export interface Line {
  readonly first: number;
  readonly stride: number;
  readonly count: number;
}

/** Writes the codes of a line, each plus `limit`, to where its values are; gives the scale's bits. */
export function quantiseLine(
  values: Float32Array,
  codes: Uint8Array | Uint16Array,
  { first, stride, count }: Line,
  { limit, step }: Quantiser,
): number {
  const end = first + count * stride;
  let largest = 0;
  let squares = 0;
  for (let at = first; at < end; at += stride) {
    const value = values[at] as number;
    largest = Math.max(largest, Math.abs(value));
    squares += value * value;
  }
  if (!Number.isFinite(squares))
    throw new SnapshotRefusal('corrupted', 'the state has numbers that are none');
  const bits = scaleBits(Math.max(largest / limit, step * Math.sqrt(squares / count)));
  const inverse = bits === 0 ? 0 : 1 / scaleOf(bits);
  for (let at = first; at < end; at += stride) {
    codes[at] = Math.floor((values[at] as number) * inverse + limit + 0.5);
  }
  return bits;
}

export function dequantiseLine(
  codes: Uint8Array | Uint16Array,
  values: Float32Array,
  { first, stride, count }: Line,
  { limit }: Quantiser,
  bits: number,
): void {
  const scale = scaleOf(bits);
  const end = first + count * stride;
  for (let at = first; at < end; at += stride) values[at] = ((codes[at] as number) - limit) * scale;
}
