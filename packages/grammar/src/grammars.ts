import { RequestError, ServerError } from '@baton/errors';
import type { GrammarSource } from '@baton/protocol';
import { compileGrammar } from './compile-grammar.ts';
import { Machine, type MachineState } from './machine.ts';
import { type GrammarVocabulary, type TokenMask, TokenTree } from './token-mask.ts';

/** Compiled grammars that are kept; each takes some megabytes once it has been used a lot. */
const kept = 16;

/** The grammars of one model's sequences. */
export class Grammars {
  readonly #vocabulary: GrammarVocabulary;
  readonly #tree: TokenTree;
  /** By their source; the one used last comes last. */
  readonly #machines = new Map<string, Machine>();

  /** `size` is how many tokens the model has; the vocabulary may have fewer. */
  constructor(vocabulary: GrammarVocabulary, size: number) {
    this.#vocabulary = vocabulary;
    this.#tree = new TokenTree(vocabulary, size);
  }

  /** Throws `RequestError` for a grammar that cannot be compiled, or whose texts this vocabulary cannot spell. */
  matcher(source: GrammarSource): GrammarMatcher {
    if (!this.#tree.spellsAll) {
      throw new RequestError(
        'unsupported_value',
        'structured output needs a model with a token for each byte',
      );
    }
    return new GrammarMatcher(this.#machine(source), this.#tree, this.#vocabulary);
  }

  #machine(source: GrammarSource): Machine {
    const key = JSON.stringify(source);
    const machine = this.#machines.get(key) ?? new Machine(compileGrammar(source, 'schema'));
    this.#machines.delete(key);
    this.#machines.set(key, machine);
    const [oldest] = this.#machines.keys();
    if (this.#machines.size > kept && oldest !== undefined) this.#machines.delete(oldest);
    return machine;
  }
}

/** One text on its way through a grammar. Where it stands is a function of the tokens it accepted, so these restore it. */
export class GrammarMatcher {
  readonly #machine: Machine;
  readonly #tree: TokenTree;
  readonly #vocabulary: GrammarVocabulary;
  #state: MachineState;

  constructor(machine: Machine, tree: TokenTree, vocabulary: GrammarVocabulary) {
    this.#machine = machine;
    this.#tree = tree;
    this.#vocabulary = vocabulary;
    this.#state = machine.start;
  }

  /** Which tokens may come next; at least one, or the text is at its end. Throws `RequestError` for too ambiguous a grammar. */
  get mask(): TokenMask {
    return this.#tree.mask(this.#machine, this.#state);
  }

  /** Takes the text's next token. Throws `ServerError` for one that may not come: another grammar's, in a replay. */
  accept(token: number): void {
    for (const byte of this.#vocabulary.tokenBytes(token)) {
      const next = this.#machine.step(this.#state, byte);
      if (next === null) throw new ServerError(`token ${token} does not fit the grammar of its sequence`);
      this.#state = next;
    }
  }
}
