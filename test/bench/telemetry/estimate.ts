import { seededRandom } from '../../fault/matrix/random.ts';
import { quantile, type Summary } from '../engine/report/statistics.ts';

const resamples = 10_000;

/**
 * The median of all values, and between which bounds 95 % of its bootstraps lie. The values come in groups, measured of one
 * pair of processes each: groups are drawn first and then their values, since two processes differ by more than their load.
 */
export function medianWithBounds(groups: readonly (readonly number[])[]): Summary {
  const random = seededRandom(1);
  const draw = <T>(from: readonly T[]): T[] => from.map(() => from[Math.floor(random() * from.length)] as T);
  const medians = Array.from({ length: resamples }, () => quantile(draw(groups).flatMap(draw), 0.5));
  const all = groups.flat();
  return {
    median: quantile(all, 0.5),
    low: quantile(medians, 0.025),
    high: quantile(medians, 0.975),
    count: all.length,
  };
}
