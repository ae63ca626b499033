import { describe, expect, it } from 'vitest';
import { Pace } from './pace.ts';

/** Runs `steps` prefills of which each takes `fixed` and a millisecond a token, beside streams that take `decodeMs`. */
function learnt(decodeMs: number, fixed: number, { most = 64, steps = 60 } = {}): number {
  const pace = new Pace(most);
  for (let step = 0; step < steps; step++) pace.learn(pace.tokens, fixed + pace.tokens, decodeMs);
  return pace.tokens;
}

describe('the pace of a prefill beside streams', () => {
  it.each([
    { decodeMs: 20, fixed: 0, tokens: 20 },
    { decodeMs: 20, fixed: 15, tokens: 5 },
    { decodeMs: 6, fixed: 0, tokens: 6 },
  ])('comes to take about the $decodeMs ms of the streams', ({ decodeMs, fixed, tokens }) => {
    expect(Math.abs(learnt(decodeMs, fixed) - tokens)).toBeLessThanOrEqual(2);
  });

  it('does not starve a prefill of what nobody notices', () => {
    expect(learnt(0.1, 0)).toBe(5);
  });

  it('stays between two tokens and a whole chunk', () => {
    expect(learnt(1000, 0)).toBe(64);
    expect(learnt(1, 1000)).toBe(2);
    expect(learnt(1000, 0, { most: 4, steps: 0 })).toBe(4);
  });

  it('grows again after a slow time', () => {
    const pace = new Pace(64);
    for (let step = 0; step < 20; step++) pace.learn(pace.tokens, 100, 1);
    expect(pace.tokens).toBe(2);
    for (let step = 0; step < 30; step++) pace.learn(pace.tokens, 1, 100);
    expect(pace.tokens).toBe(64);
  });

  it('is not misled by the short rest of a prompt, nor much by a single slow run', () => {
    const pace = new Pace(64);
    pace.learn(3, 0.1, 100);
    expect(pace.tokens).toBe(4);
    pace.learn(4, 100_000, 1);
    expect(pace.tokens).toBe(2);
    pace.learn(2, 0, 0);
    expect(pace.tokens).toBe(2);
  });
});
