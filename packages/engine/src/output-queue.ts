/** Values that arrive when they please, for one reader who takes them in order. */
export class OutputQueue<T> implements AsyncIterable<T> {
  readonly #values: T[] = [];
  #end: { readonly error?: Error } | null = null;
  #wake = () => {};

  push(value: T): void {
    if (this.#end) return;
    this.#values.push(value);
    this.#wake();
  }

  /** Ends the iteration, with `error` where there is one, after the values that were pushed before. */
  end(error?: Error): void {
    this.#end ??= error ? { error } : {};
    this.#wake();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<T, void, undefined> {
    for (;;) {
      yield* this.#values.splice(0);
      if (this.#values.length > 0) continue;
      if (this.#end?.error) throw this.#end.error;
      if (this.#end) return;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }
}
