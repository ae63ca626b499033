import { quantile } from '../report/statistics.ts';

/**
 * Bytes that one call of `work` leaves to the garbage collector, on the heap and in buffers outside: the median of so many
 * calls, since a collection within one hides what it took.
 */
export async function allocatedBytes(work: () => Promise<unknown>, calls: number): Promise<number> {
  const taken: number[] = [];
  for (let call = 0; call < calls; call++) {
    const before = usedBytes();
    await work();
    taken.push(usedBytes() - before);
  }
  return quantile(taken, 0.5);
}

function usedBytes(): number {
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}
