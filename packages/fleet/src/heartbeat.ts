import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import type { WorkerStatus } from '@baton/protocol';

/** How often a worker is heard of. */
const everyMs = 100;

/** A worker's sign of life, from a thread and a connection of its own. */
export class Heartbeat {
  readonly #thread: Worker;

  private constructor(thread: Worker) {
    this.#thread = thread;
  }

  /** Throws what keeps its thread from reaching NATS. */
  static async start(natsUrl: string): Promise<Heartbeat> {
    const thread = new Worker(new URL('./heartbeat-thread.ts', import.meta.url), {
      workerData: { natsUrl, everyMs },
    });
    await once(thread, 'message');
    return new Heartbeat(thread);
  }

  /** From now on the fleet hears this, at once and then again and again. */
  say(status: WorkerStatus): void {
    this.#thread.postMessage({ status: JSON.stringify(status), last: false });
  }

  /** Says `status`, a last word, and nothing more. */
  async stop(status: WorkerStatus): Promise<void> {
    const exit = once(this.#thread, 'exit');
    this.#thread.postMessage({ status: JSON.stringify(status), last: true });
    await exit;
  }
}
