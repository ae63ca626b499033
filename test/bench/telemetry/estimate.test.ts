import { expect, it } from 'vitest';
import { seededRandom } from '../../fault/matrix/random.ts';
import { estimate } from './estimate.ts';

const random = seededRandom(7);
const around = (middle: number, count: number) =>
  Array.from({ length: count }, () => middle + random() - 0.5);
const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;

it('gives the statistic of all values, within bounds that narrow with more of them', () => {
  const few = estimate([around(3, 10), around(3, 10)], mean);
  const groups = Array.from({ length: 10 }, () => around(3, 40));
  const many = estimate(groups, mean);
  for (const { low, value, high } of [few, many]) {
    expect(low).toBeLessThan(value);
    expect(value).toBeLessThan(high);
  }
  expect(many.value).toBe(mean(groups.flat()));
  expect(many.high - many.low).toBeLessThan((few.high - few.low) / 2);
});

it('does not take many values of few processes for certainty', () => {
  const { low, high } = estimate([around(0, 1000), around(4, 1000)], mean);
  expect(low).toBeLessThan(1);
  expect(high).toBeGreaterThan(3);
});
