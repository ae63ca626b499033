import type { TokenTable } from './token-table.ts';

export interface DetokenizerOptions {
  /** The tokens begin the text (rather than continue one), so a leading space that only marks a word is dropped. */
  readonly startOfText?: boolean;
  readonly skipSpecialTokens?: boolean;
}

/**
 * Turns tokens into text as they come. `push` returns only text that no later token can change: the bytes of an
 * unfinished character wait for the rest, and U+FFFD comes out once it is certain that they are none (by the WHATWG
 * rules for UTF-8). A function of the pushed tokens alone, so pushing them again restores it.
 */
export class Detokenizer {
  readonly #table: TokenTable;
  readonly #skipSpecialTokens: boolean;
  readonly #utf8 = new TextDecoder('utf-8', { ignoreBOM: true });
  #dropsSpace: boolean;

  constructor(table: TokenTable, { startOfText = false, skipSpecialTokens = true }: DetokenizerOptions = {}) {
    this.#table = table;
    this.#skipSpecialTokens = skipSpecialTokens;
    this.#dropsSpace = startOfText && table.stripsLeadingSpace;
  }

  push(token: number): string {
    if (this.#skipSpecialTokens && this.#table.isSpecial(token)) return '';
    let bytes = this.#table.tokenBytes(token);
    if (bytes.length === 0) return '';
    if (this.#dropsSpace) {
      this.#dropsSpace = false;
      if (bytes[0] === 0x20) bytes = bytes.subarray(1);
    }
    return this.#utf8.decode(bytes, { stream: true });
  }

  /** The end of the text: what still waits comes out as U+FFFD. */
  flush(): string {
    return this.#utf8.decode();
  }
}
