import { RequestError, ServerError } from '@baton/errors';
import type { Sampling } from '@baton/protocol';
import { exampleJob } from '@baton/protocol/testing';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { anyChoice, anyLogits, drawnFrom, rankingOf } from '../testing/sampling-by-definition.ts';
import { uniform } from './philox.ts';
import { Sampler } from './sampler.ts';

const logits = Float32Array.of(1, 3, 2, 3, -1, 0.5, 0, -2);
const eos = 1;

function sampler(sampling: Partial<Sampling>, { prompt = [7], output = [] as number[] } = {}) {
  const made = new Sampler(exampleJob({ sampling }).sampling, {
    prompt,
    vocabularySize: logits.length,
    eosTokenIds: [eos],
  });
  for (const token of output) made.accept(token);
  return made;
}

/** Counts over many seeds of what is sampled at one position. */
function histogram(sampling: Partial<Sampling>, context?: Parameters<typeof sampler>[1]): number[] {
  const counts = new Array<number>(logits.length).fill(0);
  for (let seed = 0; seed < 4000; seed++) {
    const token = sampler({ temperature: 1, ...sampling, seed }, context).sample(logits);
    counts[token] = (counts[token] ?? 0) + 1;
  }
  return counts;
}

/** Chi-square of counts against weights; no token of weight 0 may occur. */
function expectDistribution(counts: number[], weights: readonly number[]): void {
  const samples = counts.reduce((a, b) => a + b, 0);
  const total = weights.reduce((a, b) => a + b, 0);
  let chiSquare = 0;
  for (const [id, weight] of weights.entries()) {
    const expected = (samples * weight) / total;
    const count = counts[id] ?? 0;
    if (weight === 0) expect(count, `token ${id}`).toBe(0);
    else chiSquare += (count - expected) ** 2 / expected;
  }
  // 99.9th percentile for 7 degrees of freedom, the most there are here. The seeds are fixed: no chance is involved.
  expect(chiSquare).toBeLessThan(24.3);
}

const softmaxWeights = (temperature: number, keep: (id: number) => boolean = () => true) =>
  Array.from(logits, (logit, id) => (keep(id) ? Math.exp(logit / temperature) : 0));

describe('greedy', () => {
  it('takes the highest logit, the lowest id on a tie', () => {
    expect(sampler({ temperature: 0 }).sample(logits)).toBe(1);
    expect(sampler({ temperature: 0, top_k: 1, top_p: 0.1 }).sample(logits)).toBe(1);
  });

  it('leaves the logits as they were', () => {
    const copy = logits.slice();
    sampler({ temperature: 0, logit_bias: { 1: -50 } }).sample(copy);
    expect(copy).toEqual(logits);
  });
});

describe('the distribution', () => {
  it.each<[string, Partial<Sampling>, readonly number[]]>([
    ['temperature 1', {}, softmaxWeights(1)],
    ['temperature 0.5', { temperature: 0.5 }, softmaxWeights(0.5)],
    ['temperature 2', { temperature: 2 }, softmaxWeights(2)],
    ['top_k 3', { top_k: 3 }, softmaxWeights(1, (id) => [1, 3, 2].includes(id))],
    ['top_k above the vocabulary', { top_k: 1000 }, softmaxWeights(1)],
    // Probabilities: 0.356 (1), 0.356 (3), 0.131 (2), 0.048 (0), …
    ['top_p 0.5', { top_p: 0.5 }, softmaxWeights(1, (id) => [1, 3].includes(id))],
    ['top_p 0.8', { top_p: 0.8 }, softmaxWeights(1, (id) => [1, 3, 2].includes(id))],
    ['top_p below any token', { top_p: 0.01 }, softmaxWeights(1, (id) => id === 1)],
    ['min_p 0.3', { min_p: 0.3 }, softmaxWeights(1, (id) => [1, 3, 2].includes(id))],
    ['min_p 1', { min_p: 1 }, softmaxWeights(1, (id) => [1, 3].includes(id))],
    ['top_p after top_k', { top_k: 2, top_p: 0.6 }, softmaxWeights(1, (id) => [1, 3].includes(id))],
    [
      'logit_bias',
      { logit_bias: { 4: 4, 1: -100 } },
      [1, -97, 2, 3, 3, 0.5, 0, -2].map((x) => (x < -90 ? 0 : Math.exp(x))),
    ],
    [
      'a tiny temperature',
      { temperature: 1e-300 },
      softmaxWeights(1, (id) => [1, 3].includes(id)).map(Math.sign),
    ],
  ])('%s', (_, sampling, weights) => {
    expectDistribution(histogram(sampling), weights);
  });

  it('penalises presence and frequency of output tokens, not of the prompt', () => {
    const output = [3, 3, 0];
    const penalised = Array.from(logits, (logit, id) =>
      Math.exp(logit - (id === 3 ? 0.5 + 2 * 0.75 : id === 0 ? 0.5 + 0.75 : 0)),
    );
    const counts = histogram({ presence_penalty: 0.5, frequency_penalty: 0.75 }, { prompt: [1, 2], output });
    expectDistribution(counts, penalised);
  });

  it('penalises repetition over prompt and output, once each', () => {
    const seen = { prompt: [1, 1, 4], output: [3, 1] };
    const penalised = Array.from(logits, (logit, id) =>
      Math.exp([1, 3].includes(id) ? logit / 1.5 : id === 4 ? logit * 1.5 : logit),
    );
    expectDistribution(histogram({ repetition_penalty: 1.5 }, seen), penalised);
  });

  it('survives a repetition penalty that would overflow', () => {
    const counts = histogram({ repetition_penalty: 1e-300 }, { prompt: [1, 2] });
    expectDistribution(counts, [0, 1, 1, 0, 0, 0, 0, 0]);
  });

  it('has no end of sequence before min_tokens', () => {
    const early = histogram({ min_tokens: 2 }, { output: [5] });
    expectDistribution(
      early,
      softmaxWeights(1, (id) => id !== eos),
    );
    expectDistribution(histogram({ min_tokens: 2 }, { output: [5, 5] }), softmaxWeights(1));
    expect(sampler({ temperature: 0, min_tokens: 1 }).sample(logits)).toBe(3);
  });
});

describe('randomness', () => {
  it('depends on seed and position alone, so a replay goes on with the same tokens', () => {
    const run = (made: Sampler, tokens: number) =>
      Array.from({ length: tokens }, () => {
        const token = made.sample(logits);
        made.accept(token);
        return token;
      });
    const sampling = { temperature: 1.5, seed: -123_456_789_012, frequency_penalty: 0.2 };
    const whole = run(sampler(sampling), 40);
    expect(new Set(whole).size).toBeGreaterThan(3);
    for (const cut of [1, 17, 39]) {
      expect(run(sampler(sampling, { output: whole.slice(0, cut) }), 40 - cut)).toEqual(whole.slice(cut));
    }
    expect(run(sampler({ ...sampling, seed: 1 }), 40)).not.toEqual(whole);
  });
});

it('draws exactly what a sort of all tokens and sums in the order of rank give', () => {
  const forbidden = fc.constantFrom('none', 'some', 'most');
  fc.assert(
    fc.property(anyLogits, anyChoice, forbidden, fc.maxSafeInteger(), (values, choice, forbidden, seed) => {
      const ids = [...values.keys()].slice(1);
      const banned = { none: [], some: ids.filter((id) => id % 3 === 0), most: ids.slice(4) }[forbidden];
      const positions = 10;
      const made = new Sampler(
        exampleJob({ sampling: { ...choice, seed, min_tokens: positions, ignore_eos: true } }).sampling,
        { prompt: [0], vocabularySize: values.length, eosTokenIds: banned },
      );
      const scores = values.slice();
      for (const id of banned) scores[id] = Number.NEGATIVE_INFINITY;
      const ranking = rankingOf(scores, choice);
      for (let position = 0; position < positions; position++) {
        const token = made.sample(values);
        expect(token).toBe(drawnFrom(ranking, uniform(seed, position)));
        made.accept(token);
      }
    }),
    { numRuns: 500 },
  );
});

describe('refuses', () => {
  it.each([Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY])('the logit %d', (bad) => {
    const broken = logits.slice();
    broken[5] = bad;
    for (const temperature of [0, 1])
      expect(() => sampler({ temperature }).sample(broken)).toThrow(ServerError);
  });

  it('a bias on a token that is not there', () => {
    expect(() => sampler({ logit_bias: { 8: 1 } })).toThrow(RequestError);
  });
});
