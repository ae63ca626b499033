import type { Sampling } from '@baton/protocol';
import fc from 'fast-check';
import { uniform } from '../sampling/philox.ts';

type Choice = Pick<Sampling, 'temperature' | 'top_k' | 'top_p' | 'min_p'>;

/** Tokens in the order of rank (of id where neither top-k nor top-p needs ranks), and the sum of weights up to each. */
export interface Ranking {
  readonly ids: readonly number[];
  readonly sums: readonly number[];
}

/** What the sampler is to draw from, by a sort of all tokens and by sums in the order of rank. */
export function rankingOf(scores: Float32Array, { temperature, top_k, top_p, min_p }: Choice): Ranking {
  const score = (id: number) => scores[id] as number;
  const all = [...scores.keys()];
  const max = all.reduce((most, id) => Math.max(most, score(id)), Number.NEGATIVE_INFINITY);
  const ranked = top_k > 0 || top_p < 1 ? all.sort((a, b) => compare(score(b), score(a)) || a - b) : all;
  const ids = top_k > 0 ? ranked.slice(0, top_k) : ranked;
  let total = 0;
  const sums = ids.map((id) => {
    const weight = Math.exp((score(id) - max) / temperature);
    if (weight >= min_p) total += weight;
    return total;
  });
  const end = sums.findIndex((sum) => sum >= top_p * total) + 1;
  return top_p < 1 ? { ids: ids.slice(0, end), sums: sums.slice(0, end) } : { ids, sums };
}

export function drawnFrom({ ids, sums }: Ranking, random: number): number | undefined {
  const target = random * (sums.at(-1) as number);
  return ids[sums.findIndex((sum) => sum > target)];
}

const compare = (a: number, b: number) => (a === b ? 0 : a - b);

const normal = (seed: number, id: number) =>
  Math.sqrt(-2 * Math.log(1 - uniform(seed, 2 * id))) * Math.cos(2 * Math.PI * uniform(seed, 2 * id + 1));

const shapes: Readonly<Record<string, (seed: number, id: number) => number>> = {
  'all equal': () => 3,
  ties: (seed, id) => Math.round(2 * normal(seed, id)),
  'zeros of both signs': (_, id) => (id % 3 === 0 ? -0 : 0),
  flat: (seed, id) => 0.01 * normal(seed, id),
  'flat and far from 0': (seed, id) => -1000 + 0.001 * normal(seed, id),
  'of a random model': (seed, id) => normal(seed, id),
  'of a model': (seed, id) => 2.5 * normal(seed, id) + (uniform(seed + 1, id) < 0.01 ? 8 : 0),
  'one that dominates': (seed, id) => (id === 1 ? 40 : normal(seed, id)),
  'one above equals': (_, id) => (id === 1 ? 1 : 0),
  steep: (_, id) => -0.05 * id,
  huge: (seed, id) => 1e37 * normal(seed, id),
};

export function logitsOf(shape: string, size: number, seed: number): Float32Array {
  return Float32Array.from({ length: size }, (_, id) => shapes[shape]?.(seed, id) ?? Number.NaN);
}

export const anyLogits = fc
  .record({
    shape: fc.constantFrom(...Object.keys(shapes)),
    size: fc.constantFrom(2, 3, 30, 300, 3000),
    seed: fc.nat(),
  })
  .map(({ shape, size, seed }) => logitsOf(shape, size, seed));

export const anyChoice: fc.Arbitrary<Choice> = fc.record({
  temperature: fc.constantFrom(1, 0.05, 0.7, 2, 1e-300),
  top_p: fc.oneof(
    fc.constantFrom(1e-9, 0.5, 0.9, 0.95, 0.999, 1 - 2 ** -40, 1 - 2 ** -53, 1),
    fc.double({ min: 0.01, max: 1, noNaN: true }),
  ),
  min_p: fc.constantFrom(0, 0, 0, 0.001, 0.3, 1),
  top_k: fc.constantFrom(0, 0, 0, 1, 40, 290, 2000, 5000),
});
