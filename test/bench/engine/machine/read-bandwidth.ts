import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { type Summary, summarize } from '../report/statistics.ts';

const bytesPerThread = 512 * 65_536 * 16;
const rounds = 15;

/** How it is measured, for the report. */
export const readMethod = `each thread sums ${bytesPerThread / 2 ** 20} MiB of its own, far more than the caches hold, with 128-bit WebAssembly loads; all threads at once`;

/** Bytes per second that `threads` threads together read from memory. */
export async function readBandwidth(threads: number): Promise<{ summary: Summary; best: number }> {
  const workers = Array.from(
    { length: threads },
    () => new Worker(new URL('./read-thread.ts', import.meta.url), { workerData: { bytes: bytesPerThread } }),
  );
  try {
    await Promise.all(workers.map((worker) => once(worker, 'message')));
    const rates: number[] = [];
    for (let round = 0; round < rounds; round++) {
      const start = performance.now();
      for (const worker of workers) worker.postMessage('read');
      await Promise.all(workers.map((worker) => once(worker, 'message')));
      rates.push((threads * bytesPerThread * 1000) / (performance.now() - start));
    }
    return { summary: summarize(rates), best: Math.max(...rates) };
  } finally {
    await Promise.all(workers.map((worker) => worker.terminate()));
  }
}
