import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { anyChoice, anyLogits, drawnFrom, logitsOf, rankingOf } from '../testing/sampling-by-definition.ts';
import { Nucleus } from './nucleus.ts';
import { Ranker } from './ranker.ts';

const nucleusFor = (logits: Float32Array) =>
  new Nucleus(new Ranker(logits.length), new Float64Array(logits.length));
const maxOf = (logits: Float32Array) => logits.reduce((a, b) => Math.max(a, b));

describe('Nucleus', () => {
  it('draws what the definition draws or nothing, also where a last bit decides', () => {
    const parts = fc.array(fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }), {
      minLength: 4,
      maxLength: 8,
    });
    fc.assert(
      fc.property(anyLogits, anyChoice, parts, (logits, choice, parts) => {
        const sampling = { ...choice, top_k: 0 };
        const nucleus = nucleusFor(logits);
        const check = (top_p: number, randomOf: (sums: readonly number[]) => number) => {
          const ranking = rankingOf(logits, { ...sampling, top_p });
          const random = randomOf(ranking.sums);
          const drawn = nucleus.draw(logits, maxOf(logits), random, { ...sampling, top_p });
          if (drawn !== null) expect(drawn).toBe(drawnFrom(ranking, random));
        };
        // The order of rank is that of any top_p below 1, and the sums do not depend on it.
        const { sums } = rankingOf(logits, { ...sampling, top_p: 1 - 2 ** -53 });
        for (const part of parts) {
          if (choice.top_p < 1) check(choice.top_p, () => part);
          const boundary = atSum(sums, part);
          if (boundary > 0 && boundary < 1) check(boundary, () => part);
          if (choice.top_p < 1) check(choice.top_p, (sums) => atSum(sums, part));
        }
      }),
      { numRuns: 300 },
    );
  });

  it('has an answer unless it hangs by a thread', () => {
    for (const shape of ['of a random model', 'of a model', 'one that dominates']) {
      for (let seed = 0; seed < 10; seed++) {
        const logits = logitsOf(shape, 32_001, seed);
        const sampling = { temperature: 1, top_k: 0, top_p: 0.9, min_p: 0 };
        const random = seed / 10;
        expect(nucleusFor(logits).draw(logits, maxOf(logits), random, sampling)).toBe(
          drawnFrom(rankingOf(logits, sampling), random),
        );
      }
    }
    const equal = new Float32Array(1000);
    const choice = { temperature: 1, top_p: 0.9, min_p: 0 };
    expect(nucleusFor(equal).draw(equal, 0, 0.1, choice)).toBeNull();
  });
});

/** The part of the whole that one of the sums is. */
const atSum = (sums: readonly number[], part: number) =>
  (sums[Math.floor(part * sums.length)] as number) / (sums.at(-1) as number);
