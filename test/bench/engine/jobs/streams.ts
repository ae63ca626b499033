interface Waiter {
  readonly wanted: readonly number[];
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

/** Token streams that run side by side, and the gaps between the tokens of each. */
export class Streams {
  readonly #counts: number[] = [];
  readonly #readers: Promise<void>[] = [];
  #waiters: Waiter[] = [];
  #gaps: number[] | null = null;
  #stopped = false;

  /** Begins to read a stream, each value of which is one token. */
  add(stream: AsyncIterable<unknown>): void {
    const index = this.#counts.push(0) - 1;
    this.#readers.push(this.#read(stream, index).catch((error: unknown) => this.#fail(error)));
  }

  /** Resolves once every stream has given `tokens` tokens more, or was stopped; rejects when one fails or ends before. */
  more(tokens: number): Promise<void> {
    const wanted = this.#counts.map((count) => count + tokens);
    return new Promise((resolve, reject) => {
      this.#waiters.push({ wanted, resolve, reject });
    });
  }

  /** The gaps in ms between tokens of the same stream until `until` resolves. */
  async gapsUntil(until: Promise<unknown>): Promise<number[]> {
    const gaps: number[] = [];
    this.#gaps = gaps;
    await until;
    this.#gaps = null;
    return gaps;
  }

  /** Ends every stream after its next token. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await Promise.all(this.#readers);
    for (const { resolve } of this.#waiters.splice(0)) resolve();
  }

  async #read(stream: AsyncIterable<unknown>, index: number): Promise<void> {
    let last = performance.now();
    for await (const _ of stream) {
      const now = performance.now();
      this.#gaps?.push(now - last);
      last = now;
      this.#counts[index] = (this.#counts[index] ?? 0) + 1;
      this.#settle();
      if (this.#stopped) return;
    }
    throw new Error(`stream ${index} ended after ${this.#counts[index]} tokens, while it was still measured`);
  }

  #settle(): void {
    const isDone = ({ wanted }: Waiter) =>
      wanted.every((count, index) => (this.#counts[index] ?? 0) >= count);
    for (const { resolve } of this.#waiters.filter(isDone)) resolve();
    this.#waiters = this.#waiters.filter((waiter) => !isDone(waiter));
  }

  #fail(error: unknown): void {
    for (const { reject } of this.#waiters.splice(0)) reject(error);
  }
}
