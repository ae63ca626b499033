import { setTimeout as sleep } from 'node:timers/promises';
import { type SessionState, tokensOf } from '@baton/engine';
import type { SaveResult, SessionRef, SnapshotService } from './snapshot-service.ts';

/** Saves one running generation's states, one at a time: what comes meanwhile is saved as the newest of it. */
export class SnapshotWriter {
  readonly #service: SnapshotService;
  readonly #ref: SessionRef;
  readonly #onResult: (result: SaveResult) => void;
  #wanted: { readonly state: SessionState; readonly tokens: readonly number[] } | null = null;
  #running: Promise<void> | null = null;
  #stopped = false;
  #stored = 0;

  constructor(service: SnapshotService, ref: SessionRef, onResult: (result: SaveResult) => void = () => {}) {
    this.#service = service;
    this.#ref = ref;
    this.#onResult = onResult;
  }

  /** How many tokens the newest stored state remembers. */
  get stored(): number {
    return this.#stored;
  }

  get isSaving(): boolean {
    return this.#running !== null;
  }

  /** Takes `state`, which remembers the first of `tokens`, to be saved as soon as possible, and returns at once. */
  add(state: SessionState, tokens: readonly number[]): void {
    if (this.#stopped) return;
    this.#wanted = { state, tokens: tokens.slice(0, tokensOf(state)) };
    this.#running ??= this.#run();
  }

  /** Resolves when all that was added is saved or has failed, and after `milliseconds` at the latest. */
  async flush(milliseconds: number): Promise<void> {
    const timer = new AbortController();
    const timeout = sleep(milliseconds, undefined, { signal: timer.signal }).catch(() => {});
    await Promise.race([this.#running, timeout]);
    timer.abort();
  }

  /** Resolves when all that was added is saved or has failed, however long that takes. */
  async settled(): Promise<void> {
    await this.#running;
  }

  /** Saves nothing more, neither of what was added; what is being saved now, `settled` waits for. */
  stop(): void {
    this.#stopped = true;
    this.#wanted = null;
  }

  async #run(): Promise<void> {
    for (let next = this.#wanted; next; next = this.#wanted) {
      this.#wanted = null;
      const result = await this.#service.save(this.#ref, next.state, next.tokens);
      if (result.kind === 'saved') this.#stored = result.tokens;
      this.#onResult(result);
    }
    this.#running = null;
  }
}
