import { setTimeout as sleep } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { LoopDelay } from './loop-delay.ts';

it('tells how long the event loop was kept from its timers', async () => {
  const delay = new LoopDelay();
  await sleep(20);
  const end = performance.now() + 50;
  while (performance.now() < end);
  await sleep(20);
  expect(delay.percentile(100)).toBeGreaterThan(45);
  delay.reset();
  expect(delay.percentile(100)).toBe(0);
});
