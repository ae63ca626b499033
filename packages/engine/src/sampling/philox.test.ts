import { describe, expect, it } from 'vitest';
import { philox4x32, uniform } from './philox.ts';

describe('philox4x32', () => {
  // The known answers published with Random123 (kat_vectors, philox4x32 10).
  it.each<[Parameters<typeof philox4x32>[0], Parameters<typeof philox4x32>[1], number[]]>([
    [
      [0, 0, 0, 0],
      [0, 0],
      [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8],
    ],
    [
      [0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff],
      [0xffffffff, 0xffffffff],
      [0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd],
    ],
    [
      [0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344],
      [0xa4093822, 0x299f31d0],
      [0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1],
    ],
  ])('%j, %j', (counter, key, expected) => {
    expect(philox4x32(counter, key)).toEqual(expected);
  });
});

describe('uniform', () => {
  it('depends on all bits of seed and position, and on nothing else', () => {
    const seeds = [
      0,
      1,
      -1,
      2 ** 32,
      2 ** 32 + 1,
      -(2 ** 32),
      Number.MAX_SAFE_INTEGER,
      Number.MIN_SAFE_INTEGER,
    ];
    const all = seeds.flatMap((seed) => [0, 1, 2, 2 ** 32].map((position) => uniform(seed, position)));
    expect(new Set(all).size).toBe(all.length);
    expect(seeds.flatMap((seed) => [0, 1, 2, 2 ** 32].map((position) => uniform(seed, position)))).toEqual(
      all,
    );
    for (const value of all) expect(value >= 0 && value < 1).toBe(true);
  });

  it('is uniform over positions and over seeds', () => {
    for (const draw of [(i: number) => uniform(7, i), (i: number) => uniform(i, 7)]) {
      const bins = new Uint32Array(16);
      for (let i = 0; i < 16_000; i++) {
        const bin = Math.floor(draw(i) * 16);
        bins[bin] = (bins[bin] ?? 0) + 1;
      }
      const chiSquare = bins.reduce((sum, count) => sum + (count - 1000) ** 2 / 1000, 0);
      // 99.9th percentile of chi-square with 15 degrees of freedom; the draws are fixed, so this cannot flake.
      expect(chiSquare).toBeLessThan(37.7);
    }
  });
});
