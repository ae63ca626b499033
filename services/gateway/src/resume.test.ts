import { afterAll, beforeAll, expect, it } from 'vitest';
import { hesitate, readWithDrops } from './testing/resume-cycles.ts';
import { TestBench } from './testing/test-bench.ts';

let bench: TestBench;
beforeAll(async () => {
  bench = await TestBench.start();
});
afterAll(() => bench?.stop());

// A thousand: npm run test:resume.
it('is read whole, and nothing twice, however often its client goes and comes back', async () => {
  bench.script = hesitate(Math.random);
  const gateways = await Promise.all([1, 2].map(() => bench.startGateway()));
  const urls = gateways.map(({ url }) => url);
  const returns = await Promise.all(Array.from({ length: 6 }, () => readWithDrops(urls, Math.random)));
  expect(returns.reduce((sum, count) => sum + count)).toBeGreaterThan(12);
});
