import { once } from 'node:events';

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

  /** Waits until every task has ended, those that they start on the way as well, `timeoutMs` at most. */
  async settle(timeoutMs: number): Promise<void> {
    const deadline = AbortSignal.timeout(timeoutMs);
    const tired = once(deadline, 'abort');
    while (this.#tasks.size > 0 && !deadline.aborted) {
      await Promise.race([Promise.allSettled(this.#tasks), tired]);
    }
  }
}
