import { describe, expect, it } from 'vitest';
import { quantile, ratePerSecond, summarize } from './statistics.ts';

describe('quantile', () => {
  it('interpolates between neighbours, whatever the order', () => {
    expect(quantile([40, 10, 30, 20], 0)).toBe(10);
    expect(quantile([40, 10, 30, 20], 0.5)).toBe(25);
    expect(quantile([40, 10, 30, 20], 0.99)).toBeCloseTo(39.7);
    expect(quantile([40, 10, 30, 20], 1)).toBe(40);
    expect(quantile([7], 0.3)).toBe(7);
  });

  it('refuses to make something of nothing', () => {
    expect(() => quantile([], 0.5)).toThrow(RangeError);
  });
});

it('summarize gives median and quartiles', () => {
  expect(summarize([5, 1, 2, 3, 4])).toEqual({ median: 3, low: 2, high: 4, count: 5 });
});

it('ratePerSecond turns durations in ms into rates', () => {
  expect(ratePerSecond([500, 250, 1000], 8)).toEqual({ median: 16, low: 12, high: 24, count: 3 });
});
