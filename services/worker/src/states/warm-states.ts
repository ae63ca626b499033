import { type SessionState, stateBytes } from '@baton/engine';

/** States of ended turns in memory, the least recently used going first. Nobody writes to one, so many may go on from it. */
export class WarmStates {
  readonly #limit: number;
  readonly #states = new Map<string, SessionState>();
  #bytes = 0;

  /** `limit` in bytes. */
  constructor(limit: number) {
    this.#limit = limit;
  }

  get bytes(): number {
    return this.#bytes;
  }

  get(id: string): SessionState | null {
    const state = this.#states.get(id);
    if (!state) return null;
    this.#states.delete(id);
    this.#states.set(id, state);
    return state;
  }

  set(id: string, state: SessionState): void {
    this.delete(id);
    this.#states.set(id, state);
    this.#bytes += stateBytes(state);
    for (const oldest of this.#states.keys()) {
      if (this.#bytes <= this.#limit) return;
      this.delete(oldest);
    }
  }

  delete(id: string): void {
    const state = this.#states.get(id);
    if (!state) return;
    this.#states.delete(id);
    this.#bytes -= stateBytes(state);
  }
}

/** Under what name a session's state is kept in memory. */
export function warmKey(tenant: string, session: string): string {
  return `${tenant} ${session}`;
}
