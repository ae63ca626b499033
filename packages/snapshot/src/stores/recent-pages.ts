/**
 * Objects that this process put, or found, not long ago: nobody who collects old ones takes them away yet, so they need
 * not be asked for again.
 */
export class RecentPages {
  readonly #milliseconds: number;
  /** When each was written, the oldest first but for those found. */
  readonly #written = new Map<string, number>();

  /** `milliseconds`: how long after it was written an object is certainly there. */
  constructor(milliseconds: number) {
    this.#milliseconds = milliseconds;
  }

  has(key: string): boolean {
    return (this.#written.get(key) ?? 0) > Date.now() - this.#milliseconds;
  }

  add(key: string, written: number): void {
    for (const [old, time] of this.#written) {
      if (time > Date.now() - this.#milliseconds) break;
      this.#written.delete(old);
    }
    this.#written.delete(key);
    this.#written.set(key, written);
  }

  delete(key: string): void {
    this.#written.delete(key);
  }
}
