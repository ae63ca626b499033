/** Streams beside a prefill wait for it, after their own run, about this many times as long as that takes. */
const patience = 1;
/** Nobody notices a wait as short as this, in milliseconds, however fast the streams are. */
const unnoticed = 5;
const fewest = 2;
/** Before anything is learnt: few, so that a prompt's first chunk does not hold up the streams of a large model. */
const first = 4;

/**
 * How many tokens of a prompt to prefill in one step beside streams. How long they take depends on model, weights and
 * machine, so it is learnt from the runs themselves; a run of few tokens costs nearly what one of a single token does.
 */
export class Pace {
  readonly #most: number;
  #tokens: number;

  constructor(most: number) {
    this.#most = most;
    this.#tokens = Math.min(first, most);
  }

  get tokens(): number {
    return Math.floor(this.#tokens);
  }

  /** Takes in how long a prefill of `tokens` tokens took, and the run of the streams beside it. */
  learn(tokens: number, prefillMs: number, decodeMs: number): void {
    if (!(prefillMs > 0 && decodeMs > 0)) return;
    // In small steps, since a single run may have been held up.
    const change = Math.min(Math.max(Math.max(patience * decodeMs, unnoticed) / prefillMs, 0.7), 1.2);
    const isRest = tokens < this.tokens;
    // The rest of a prompt, however fast, says nothing about longer chunks.
    if (isRest && change > 1) return;
    this.#tokens = Math.min(Math.max((isRest ? tokens : this.#tokens) * change, fewest), this.#most);
  }
}
