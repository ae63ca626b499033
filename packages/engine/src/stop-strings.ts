/**
 * Watches text for stop strings. Holds back what may be the beginning of one, and gives text up to, not including, the
 * first that occurs: the one that is complete first, the longest where several are complete at the same character. So
 * how the text is cut into pieces makes no difference.
 */
export class StopStrings {
  readonly #patterns: readonly Pattern[];
  #held = '';

  constructor(stops: readonly string[]) {
    // Decoded text has no lone surrogates, so a stop string with one never occurs.
    this.#patterns = stops.filter((stop) => stop.isWellFormed()).map((stop) => new Pattern(stop));
  }

  /** The text that became certain. While not `armed`, stop strings pass by without stopping. */
  push(piece: string, armed: boolean): { readonly text: string; readonly stopped: boolean } {
    const text = this.#held + piece;
    for (let at = this.#held.length; at < text.length; at++) {
      let complete = 0;
      for (const pattern of this.#patterns) {
        if (pattern.advance(text.charCodeAt(at))) complete = Math.max(complete, pattern.length);
      }
      if (complete > 0 && armed) return { text: text.slice(0, at + 1 - complete), stopped: true };
    }
    const held = this.#patterns.reduce((most, pattern) => Math.max(most, pattern.matched), 0);
    this.#held = text.slice(text.length - held);
    return { text: text.slice(0, text.length - held), stopped: false };
  }

  /** What is held back, once no more text comes. */
  flush(): string {
    return this.#held;
  }
}

/** Knuth, Morris and Pratt's matcher: constant work a character, however long the pattern. */
class Pattern {
  /** How much of the pattern the text so far ends with, short of all of it. */
  matched = 0;
  readonly #units: Uint16Array;
  /** For each length, the longest shorter beginning of the pattern that it also ends with. */
  readonly #fallback: Uint32Array;

  constructor(pattern: string) {
    this.#units = Uint16Array.from({ length: pattern.length }, (_, index) => pattern.charCodeAt(index));
    this.#fallback = new Uint32Array(pattern.length + 1);
    for (let length = 2; length <= pattern.length; length++) {
      this.#fallback[length] = this.#extend(
        this.#fallback[length - 1] as number,
        this.#units[length - 1] as number,
      );
    }
  }

  get length(): number {
    return this.#units.length;
  }

  /** Takes one UTF-16 unit of text; true where it completes the pattern. */
  advance(unit: number): boolean {
    const matched = this.#extend(this.matched, unit);
    const complete = matched === this.length;
    this.matched = complete ? (this.#fallback[matched] as number) : matched;
    return complete;
  }

  #extend(matched: number, unit: number): number {
    let length = matched;
    while (length > 0 && this.#units[length] !== unit) length = this.#fallback[length] as number;
    return this.#units[length] === unit ? length + 1 : length;
  }
}
