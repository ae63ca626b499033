import { codecTiers } from '@baton/snapshot';
import { faults } from './faults.ts';

export const moments = ['prefill', 'decode', 'end of turn'] as const;
export const samplings = ['greedy', 'seeded'] as const;

const factors = {
  tier: codecTiers,
  fault: Object.keys(faults) as (keyof typeof faults)[],
  moment: moments,
  sampling: samplings,
} as const;
type Factors = typeof factors;

/** One way to disturb a generation. */
export type FaultCase = { readonly [F in keyof Factors]: Factors[F][number] };

export const nameOf = ({ fault, moment, sampling, tier }: FaultCase): string =>
  `${fault}, ${moment}, ${sampling}, ${tier}`;

/** The whole product. */
export function allCases(): FaultCase[] {
  const { tier: tiers, fault, moment, sampling } = factors;
  return tiers.flatMap((tier) =>
    fault.flatMap((fault) =>
      moment.flatMap((moment) => sampling.map((sampling) => ({ tier, fault, moment, sampling }))),
    ),
  );
}

/** As few cases as a greedy choice finds in which any two values of two factors meet, those of one tier together. */
export function pairwiseCases(): FaultCase[] {
  const all = allCases();
  const open = new Set(all.flatMap(pairsOf));
  const chosen: FaultCase[] = [];
  while (open.size > 0) {
    const gain = (of: FaultCase) => pairsOf(of).filter((pair) => open.has(pair)).length;
    const best = all.reduce((most, next) => (gain(next) > gain(most) ? next : most));
    chosen.push(best);
    for (const pair of pairsOf(best)) open.delete(pair);
  }
  return all.filter((one) => chosen.includes(one));
}

function pairsOf(of: FaultCase): string[] {
  const values = Object.values(of);
  return values.flatMap((value, at) => values.slice(at + 1).map((other) => `${value} × ${other}`));
}
