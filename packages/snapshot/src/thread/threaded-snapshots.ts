import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import type { SessionState } from '@baton/engine';
import { ConfigurationError } from '@baton/errors';
import type { RestoreResult, SaveResult, SessionRef, SnapshotService } from '../snapshot-service.ts';
import type { FromThread, SnapshotSettings, ToThread } from './messages.ts';

export type { SnapshotSettings } from './messages.ts';

/**
 * Starts the snapshots' thread. Throws `ConfigurationError` where its store cannot be opened; one that only does not answer now
 * is waited for meanwhile, and `onStore` hears why, and null once it is there.
 */
export async function openSnapshots(
  settings: SnapshotSettings,
  onStore: (outage: string | null) => void = () => {},
): Promise<SnapshotService> {
  const thread = new Worker(new URL('./snapshot-thread.ts', import.meta.url), { workerData: settings });
  const { promise: ready, resolve, reject } = Promise.withResolvers<void>();
  thread.on('message', (message: FromThread) => {
    if (message.type === 'ready') resolve();
    if (message.type === 'store') onStore(message.outage);
    if (message.type === 'refused')
      reject(new ConfigurationError(`the snapshot store cannot be opened: ${message.message}`));
  });
  thread.once('error', reject);
  await ready;
  return new ThreadedSnapshots(thread);
}

/** Snapshots on a thread of their own. Should that thread die, nothing is saved or restored any more, and all else goes on. */
class ThreadedSnapshots implements SnapshotService {
  readonly #thread: Worker;
  readonly #waiting = new Map<number, (result: unknown) => void>();
  #next = 0;
  #death: string | null = null;

  constructor(thread: Worker) {
    this.#thread = thread;
    thread.on('message', (message: FromThread) => {
      if (message.type !== 'done') return;
      this.#waiting.get(message.id)?.(message.result);
      this.#waiting.delete(message.id);
    });
    const die = (reason: string) => {
      this.#death ??= reason;
      for (const resolve of this.#waiting.values()) resolve(undefined);
      this.#waiting.clear();
    };
    thread.on('error', (error) => die(error.message));
    thread.on('exit', (code) => die(`its thread exited with code ${code}`));
  }

  async save(ref: SessionRef, state: SessionState, tokens: readonly number[]): Promise<SaveResult> {
    const result = await this.#call({ id: this.#next++, method: 'save', args: [ref, state, tokens] });
    return (
      (result as SaveResult | undefined) ?? { kind: 'failed', reason: 'failed', message: String(this.#death) }
    );
  }

  async restore(ref: SessionRef, tokens: readonly number[], next: SessionRef): Promise<RestoreResult> {
    const result = await this.#call({ id: this.#next++, method: 'restore', args: [ref, tokens, next] });
    const lost = { kind: 'refused', reason: 'store_unavailable', message: String(this.#death) } as const;
    return (result as RestoreResult | undefined) ?? lost;
  }

  async renew(ref: SessionRef): Promise<void> {
    await this.#call({ id: this.#next++, method: 'renew', args: [ref] });
  }

  async delete(ref: SessionRef): Promise<void> {
    await this.#call({ id: this.#next++, method: 'delete', args: [ref] });
  }

  release(ref: SessionRef): void {
    void this.#call({ id: this.#next++, method: 'release', args: [ref] });
  }

  async close(): Promise<void> {
    if (this.#death !== null) return;
    const exit = once(this.#thread, 'exit');
    await this.#call({ id: this.#next++, method: 'close', args: [] });
    await exit;
  }

  #call(message: ToThread): Promise<unknown> {
    if (this.#death !== null) return Promise.resolve(undefined);
    return new Promise((resolve) => {
      this.#waiting.set(message.id, resolve);
      this.#thread.postMessage(message);
    });
  }
}
