import type { PageTier } from './tiers.ts';

/** A uniform quantiser with codes from `-limit` to `limit`. */
export interface Quantiser {
  readonly limit: number;
  /**
   * The least step, in root mean squares of the values that share it: 0 spends all codes on the largest value, and more
   * makes small codes likelier, which entropy coding turns into fewer bits.
   */
  readonly step: number;
  /** Low bits of the scale's float that are zero: the fewer scales there are to choose from, the fewer bits one takes. */
  readonly coarse: number;
}

/** Bits of a bfloat16's mantissa: seven, or the highest three. */
const fineScale = 0xffff;
const coarseScale = 0xf_ffff;

const sixteenBits: Quantiser = { limit: 32_767, step: 0, coarse: fineScale };
const eightBits = (step: number, coarse: number): Quantiser => ({ limit: 127, step, coarse });

export type Lossy = Exclude<PageTier, 'exact'>;

/**
 * A Gaussian takes about log2(4.13 ÷ step) bits a value after entropy coding, and what is spread less evenly takes fewer:
 * a few large values may then keep their size without the rest losing its.
 */
export const quantisers: Readonly<Record<Lossy, Readonly<Record<'rows' | 'recurrent', Quantiser>>>> = {
  int8: { rows: eightBits(0.025, fineScale), recurrent: sixteenBits },
  compact: { rows: eightBits(0.252, coarseScale), recurrent: eightBits(0.049, fineScale) },
  coarse: { rows: eightBits(0.66, coarseScale), recurrent: eightBits(0.049, fineScale) },
};
