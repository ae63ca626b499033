import { expect, it } from 'vitest';
import { RestoreCosts } from './restore-costs.ts';

/** How many decisions it takes until a state is fetched. */
function decisionsToFetch(costs: RestoreCosts, tokens: number): number {
  for (let decisions = 1; ; decisions++) {
    if (costs.decide(tokens).fetch) return decisions;
    if (decisions === 10_000) return Number.POSITIVE_INFINITY;
  }
}

it('takes the cheaper way, and tries what it does not know', () => {
  const costs = new RestoreCosts();
  expect(costs.decide(1000)).toMatchObject({ fetch: true, why: 'costs are not measured yet' });
  costs.prefilled(1000, 200);
  costs.restored(40);
  expect(costs.decide(1000).fetch).toBe(true);
  expect(costs.decide(100)).toMatchObject({
    fetch: false,
    why: 'a restore takes about 40 ms, 100 tokens about 20 ms',
  });
});

it('tries a store again that was slow once, and comes back to it when it is fast', () => {
  const costs = new RestoreCosts();
  costs.prefilled(1920, 365);
  costs.restored(450);
  expect(costs.decide(1920).fetch).toBe(false);
  expect(decisionsToFetch(costs, 1920)).toBeLessThan(50);
  costs.restored(20);
  expect(decisionsToFetch(costs, 1920)).toBe(1);
});

it('tries a slow store the less the slower it is', () => {
  const tries = [500, 5000].map((milliseconds) => {
    const costs = new RestoreCosts();
    costs.prefilled(1000, 200);
    costs.restored(milliseconds);
    return decisionsToFetch(costs, 1000);
  });
  expect(tries[1]).toBeGreaterThan(2 * Number(tries[0]));
});
