import type { StateRequest } from '../engine.ts';

/** When a sequence's memory is copied out, and from where on. */
export class StateSchedule {
  readonly #request: StateRequest | undefined;
  #from: number;

  constructor(request: StateRequest | undefined) {
    this.#request = request;
    this.#from = request?.from ?? 0;
  }

  get wanted(): boolean {
    return this.#request !== undefined;
  }

  get wantedAtEnd(): boolean {
    return this.wanted && this.#request?.atEnd !== false;
  }

  /** How many of `tokens` more to feed at once, so that a step ends exactly where a copy is wanted. */
  limit(fed: number, tokens: number): number {
    return Math.min(tokens, ...(this.#request?.at ?? []).map((at) => (at > fed ? at - fed : tokens)));
  }

  /** Whether a step that fed the tokens from `before` to `after` ended where a copy is wanted. */
  isDue(before: number, after: number): boolean {
    if (!this.#request) return false;
    const { every, at = [] } = this.#request;
    return Math.floor(after / every) > Math.floor(before / every) || at.includes(after);
  }

  /** Where a copy taken after `fed` tokens begins; the next one begins with the last whole page of this one. */
  take(fed: number): number {
    const from = this.#from;
    if (this.#request) this.#from = Math.max(from, fed - (fed % this.#request.pageTokens));
    return from;
  }
}
