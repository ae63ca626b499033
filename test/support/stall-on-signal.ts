import { isMainThread } from 'node:worker_threads';

/** Loaded into a service before its own code: after SIGUSR2 its main thread stands still for a second, as a long task would. */
if (isMainThread) {
  process.on('SIGUSR2', () => {
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1000);
    process.stdout.write('stood still\n');
  });
}
