import { availableParallelism } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { expect, it } from 'vitest';
import { LoopDelay } from './loop-delay.ts';

it('tells how long the event loop was kept from its timers, and by what it did itself', async () => {
  const delay = new LoopDelay();
  await sleep(20);
  const { user } = process.threadCpuUsage();
  while (process.threadCpuUsage().user < user + 50_000);
  await sleep(20);
  expect(delay.percentile(100)).toBeGreaterThan(45);
  expect(delay.most.busy).toBeGreaterThan(45);
  delay.reset();
  expect(delay.percentile(100)).toBe(0);
  expect(delay.most.busy).toBe(0);
});

it('is not busy while it does nothing', async () => {
  const delay = new LoopDelay();
  await sleep(20);
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 100);
  await sleep(20);
  expect(delay.percentile(100)).toBeGreaterThan(90);
  expect(delay.most.busy).toBeLessThan(90);
});

it.runIf(process.platform === 'linux')('tells how long it waited for a core', async () => {
  const delay = new LoopDelay();
  const spinners = Array.from(
    { length: 2 * availableParallelism() },
    () => new Worker('for (;;);', { eval: true }),
  );
  while ((delay.most.waited ?? 0) < 0.5) await sleep(5);
  await Promise.all(spinners.map((spinner) => spinner.terminate()));
  delay.reset();
  expect(delay.most.waited).toBeNull();
});
