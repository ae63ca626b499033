import { expect, it } from 'vitest';
import { seededRandom } from '../../fault/matrix/random.ts';
import { medianWithBounds } from './estimate.ts';

const random = seededRandom(7);
const around = (middle: number, count: number) =>
  Array.from({ length: count }, () => middle + random() - 0.5);

it('gives the median, within bounds that narrow with more values', () => {
  const few = medianWithBounds([around(3, 10), around(3, 10)]);
  const many = medianWithBounds(Array.from({ length: 10 }, () => around(3, 40)));
  for (const { low, median, high } of [few, many]) {
    expect(low).toBeLessThan(median);
    expect(median).toBeLessThan(high);
  }
  expect(Math.abs(many.median - 3)).toBeLessThan(0.2);
  expect(many.high - many.low).toBeLessThan((few.high - few.low) / 2);
});

it('does not take many values of few processes for certainty', () => {
  const { low, high } = medianWithBounds([around(0, 1000), around(4, 1000)]);
  expect(low).toBeLessThan(1);
  expect(high).toBeGreaterThan(3);
});
