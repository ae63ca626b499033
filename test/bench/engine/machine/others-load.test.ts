import { expect, it } from 'vitest';
import { OthersLoad } from './others-load.ts';

it('is a share of the cores, and counts nothing twice', () => {
  const load = new OthersLoad();
  for (const percent of [load.percent(), load.percent()]) {
    expect(percent).toBeGreaterThanOrEqual(0);
    expect(percent).toBeLessThanOrEqual(100);
  }
});
