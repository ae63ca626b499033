import { seededRandom } from '../../fault/matrix/random.ts';
import { quantile } from '../engine/report/statistics.ts';

const resamples = 2000;

export interface Estimate {
  readonly value: number;
  /** Between these lie 95 % of its bootstraps. */
  readonly low: number;
  readonly high: number;
}

/**
 * What `statistic` says of all values, and how sure that is. The values come in groups, measured of one pair of processes each:
 * groups are drawn first and then their values, since two processes differ by more than their load.
 */
export function estimate<T>(
  groups: readonly (readonly T[])[],
  statistic: (values: readonly T[]) => number,
): Estimate {
  const random = seededRandom(1);
  const draw = <V>(from: readonly V[]): V[] => from.map(() => from[Math.floor(random() * from.length)] as V);
  const bootstraps = Array.from({ length: resamples }, () => statistic(draw(groups).flatMap(draw)));
  return {
    value: statistic(groups.flat()),
    low: quantile(bootstraps, 0.025),
    high: quantile(bootstraps, 0.975),
  };
}
