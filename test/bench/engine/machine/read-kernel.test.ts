import { expect, it } from 'vitest';
import { readKernel, readStep } from './read-kernel.ts';
import { webAssembly } from './web-assembly.ts';

it('the kernel reads every step of its range once, and nothing else', async () => {
  const memory = new webAssembly.Memory({ initial: 1 });
  const words = new BigUint64Array(memory.buffer);
  for (let i = 0; i < words.length; i++) words[i] = BigInt(i * i);
  const { instance } = await webAssembly.instantiate(readKernel(), { m: { m: memory } });
  const sum = instance.exports['sum'] as (begin: number, end: number) => bigint;
  const [from, to] = [2 * readStep, 7 * readStep];
  let expected = 0n;
  for (let i = from / 8; i < to / 8; i += 2) expected += words[i] ?? 0n;
  expect(sum(from, to)).toBe(expected);
});
