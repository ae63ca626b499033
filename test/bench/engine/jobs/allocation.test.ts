import { expect, it } from 'vitest';
import { allocatedBytes } from './allocation.ts';

it('tells what a call takes, on the heap and outside of it', async () => {
  const kept: unknown[] = [];
  const taken = (make: () => unknown) => allocatedBytes(async () => kept.push(make()), 20);
  const buffers = await taken(() => new Float32Array(250_000));
  expect(buffers).toBeGreaterThan(1e6);
  expect(buffers).toBeLessThan(1.2e6);
  expect(await taken(() => Array.from({ length: 10_000 }, (_, i) => ({ i })))).toBeGreaterThan(1e5);
  expect(await taken(() => null)).toBeLessThan(1e5);
});
