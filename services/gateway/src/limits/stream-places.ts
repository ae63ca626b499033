import { OverloadedError } from '@baton/errors';

/** Long enough for another stream to end, or for another gateway to be found. */
const retryAfterMs = 1000;

/** The streams, WebSockets and event streams alike, that one gateway serves now. */
export class StreamPlaces {
  readonly #limit: number;
  readonly #tenantLimit: number;
  readonly #taken = new Map<string, number>();
  #all = 0;

  constructor(limit: number, tenantLimit: number) {
    this.#limit = limit;
    this.#tenantLimit = tenantLimit;
  }

  /**
   * Takes a place and gives a function that gives it back. Throws `OverloadedError`: 503 where the gateway serves as many as it
   * may, 429 where the tenant has as many.
   */
  take(tenant: string): () => void {
    const taken = this.#taken.get(tenant) ?? 0;
    if (this.#all >= this.#limit) {
      throw new OverloadedError('overloaded', `${this.#all} streams are open here already`, retryAfterMs);
    }
    if (taken >= this.#tenantLimit) {
      throw new OverloadedError(
        'rate_limit_exceeded',
        `at most ${this.#tenantLimit} streams of one tenant may be open at once; close some of them`,
        retryAfterMs,
      );
    }
    this.#all++;
    this.#taken.set(tenant, taken + 1);
    let given = false;
    return () => {
      if (given) return;
      given = true;
      this.#all--;
      const left = (this.#taken.get(tenant) ?? 0) - 1;
      if (left > 0) this.#taken.set(tenant, left);
      else this.#taken.delete(tenant);
    };
  }
}
