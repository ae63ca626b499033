import { unnamedMs } from './kept-sessions.ts';
import type { SnapshotStore, StoreLimits } from './store.ts';

/**
 * Has a store collect now and then, whether somebody stores something or not, so that nothing outlives its time for long. All who
 * share it do so, each at times of its own. Gives a function that ends it, and resolves once nothing is being collected.
 */
export function collectNowAndThen(
  store: Pick<SnapshotStore, 'collect'>,
  limits: StoreLimits,
): () => Promise<void> {
  const mostMs = unnamedMs(limits) / 2;
  let running = Promise.resolve();
  let timer: NodeJS.Timeout;
  let stopped = false;
  const wait = () => {
    timer = setTimeout(collect, mostMs * (0.5 + Math.random() / 2)).unref();
  };
  const collect = () => {
    // What fails is tried again by the next one.
    running = store
      .collect()
      .catch(() => {})
      .then(() => {
        if (!stopped) wait();
      });
  };
  wait();
  return () => {
    stopped = true;
    clearTimeout(timer);
    return running;
  };
}
