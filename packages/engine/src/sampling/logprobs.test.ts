import { ServerError } from '@baton/errors';
import { describe, expect, it } from 'vitest';
import { tokenLogprob } from './logprobs.ts';
import { Ranker } from './ranker.ts';

const logits = Float32Array.of(1, 3, 2, 3, -1);
const ranker = new Ranker(logits.length);

describe('tokenLogprob', () => {
  it('is the log-softmax of the raw logits, with the most likely alternatives first', () => {
    const sum = logits.reduce((total, logit) => total + Math.exp(logit), 0);
    const { token, logprob, top } = tokenLogprob(logits, 2, 3, ranker);
    expect(token).toBe(2);
    expect(logprob).toBeCloseTo(2 - Math.log(sum), 12);
    expect(top.map(([id]) => id)).toEqual([1, 3, 2]);
    expect(top[0]?.[1]).toBeCloseTo(3 - Math.log(sum), 12);
    expect(tokenLogprob(logits, 4, 0, ranker).top).toEqual([]);
    expect(tokenLogprob(logits, 4, 20, ranker).top).toHaveLength(5);
  });

  it('holds for logits of any size', () => {
    const { logprob } = tokenLogprob(Float32Array.of(3e38, -3e38), 0, 0, new Ranker(2));
    expect(logprob).toBe(0);
    const all = Array.from(logits.keys(), (id) => Math.exp(tokenLogprob(logits, id, 0, ranker).logprob ?? 0));
    expect(all.reduce((a, b) => a + b)).toBeCloseTo(1, 12);
  });

  it('refuses NaN and infinities', () => {
    for (const bad of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]) {
      expect(() => tokenLogprob(Float32Array.of(0, bad), 0, 0, new Ranker(2))).toThrow(ServerError);
    }
  });
});
