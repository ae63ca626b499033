import { Detokenizer } from '@baton/hymba/tokenizer';
import type { TokenNames } from './logprobs.ts';

/**
 * Where in a completion's text each token begins, in characters (code points). With `echo` the text begins with the
 * prompt's; a beginning-of-sequence token that the prompt's text does not show takes no room in it.
 */
export class TextOffsets {
  readonly #names: TokenNames;
  readonly #echo: string;
  readonly #prompt: Detokenizer;
  readonly #output: Detokenizer;
  #promptNext = 0;
  #outputNext: number;
  #first = true;

  /** `echo` is the prompt's text where the answer begins with it, otherwise empty. */
  constructor(names: TokenNames, echo: string) {
    this.#names = names;
    this.#echo = echo;
    this.#prompt = new Detokenizer(names, { startOfText: true, skipSpecialTokens: false });
    this.#output = new Detokenizer(names);
    this.#outputNext = lengthOf(echo);
  }

  ofPromptToken(token: number): number {
    const offset = this.#promptNext;
    const hidden =
      this.#first && this.#names.isSpecial(token) && !this.#echo.startsWith(this.#names.tokenText(token));
    this.#first = false;
    if (!hidden) this.#promptNext += lengthOf(this.#prompt.push(token));
    return offset;
  }

  ofOutputToken(token: number): number {
    const offset = this.#outputNext;
    this.#outputNext += lengthOf(this.#output.push(token));
    return offset;
  }
}

function lengthOf(text: string): number {
  return [...text].length;
}
