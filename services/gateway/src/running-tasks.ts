import { setTimeout as delay } from 'node:timers/promises';

/** The requests that run now, also those whose connection is closed already and that only tidy up. */
export class RunningTasks {
  readonly #tasks = new Set<Promise<unknown>>();

  async run<T>(task: () => Promise<T>): Promise<T> {
    const running = task();
    this.#tasks.add(running);
    try {
      return await running;
    } finally {
      this.#tasks.delete(running);
    }
  }

  /** Waits until every task has ended, `timeoutMs` at most. */
  async settle(timeoutMs: number): Promise<void> {
    const tired = delay(timeoutMs, undefined, { ref: false });
    await Promise.race([Promise.allSettled(this.#tasks), tired]);
  }
}
