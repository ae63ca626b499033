import fc from 'fast-check';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { fuzzCase, tryCase } from './testing/fuzz.ts';
import { type RunningGateway, TestBench } from './testing/test-bench.ts';
import { toolTemplate } from './testing/tool-template.ts';

let bench: TestBench;
let gateway: RunningGateway;
beforeAll(async () => {
  bench = await TestBench.start({ chatTemplate: toolTemplate });
  gateway = await bench.startGateway();
});
afterAll(() => bench?.stop());

// Many more: npm run test:fuzz.
it('answers whatever comes with what the client can understand, and never with a failure of its own', async () => {
  const statuses = new Set<number>();
  await fc.assert(
    fc.asyncProperty(fuzzCase, async (fuzzed) => {
      statuses.add(await tryCase(gateway.url, fuzzed));
    }),
    { numRuns: 400 },
  );
  expect(statuses).toContain(400);
  expect(statuses).toContain(200);
});
