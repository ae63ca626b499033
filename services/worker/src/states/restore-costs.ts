/** How much of a new measurement enters an estimate. */
const weight = 0.3;
/** What a restore's estimate keeps of itself each time that nothing is fetched for it. */
const trust = 0.98;

/** What prefilling and restoring have cost so far, in milliseconds: exponentially weighted means. */
export class RestoreCosts {
  #prefillPerToken: number | null = null;
  #restore: number | null = null;

  prefilled(tokens: number, milliseconds: number): void {
    if (tokens > 0) this.#prefillPerToken = mean(this.#prefillPerToken, milliseconds / tokens);
  }

  restored(milliseconds: number): void {
    this.#restore = mean(this.#restore, milliseconds);
  }

  /**
   * Whether to fetch a stored state of `tokens` tokens rather than compute it again, and why. What was not measured yet is
   * tried: a restore is nearly as cheap for a long state as for a short one, and computing is not. So is, now and then, what
   * was measured to be slow, the sooner the closer it was: only who fetches learns that the store is fast again.
   */
  decide(tokens: number): { readonly fetch: boolean; readonly why: string } {
    if (this.#prefillPerToken === null || this.#restore === null) {
      return { fetch: true, why: 'costs are not measured yet' };
    }
    const prefill = tokens * this.#prefillPerToken;
    const why = `a restore takes about ${Math.round(this.#restore)} ms, ${tokens} tokens about ${Math.round(prefill)} ms`;
    const fetch = this.#restore < prefill;
    if (!fetch) this.#restore *= trust;
    return { fetch, why };
  }
}

function mean(before: number | null, value: number): number {
  return before === null ? value : before + weight * (value - before);
}
