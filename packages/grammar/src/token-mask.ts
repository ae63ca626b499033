import type { Machine, MachineState } from './machine.ts';

/** Which tokens may come next. */
export interface TokenMask {
  /** Bit `id % 32` of word `id / 32`: whether token `id` may come. */
  readonly bits: Uint32Array;
  /** No token of text may come, only the end. */
  readonly onlyEnd: boolean;
}

/** What a grammar must know of a vocabulary. */
export interface GrammarVocabulary {
  readonly eosTokenIds: readonly number[];
  /** The bytes that the token adds to a text; none for an id nobody defined. */
  tokenBytes(id: number): Uint8Array;
  /** No part of a text. */
  isSpecial(id: number): boolean;
}

/** The tokens of a vocabulary as a tree of bytes, each node before its children: tokens that begin alike are tried together. */
export class TokenTree {
  readonly #size: number;
  readonly #eosTokenIds: readonly number[];
  readonly #bytes: Uint8Array;
  readonly #depths: Uint16Array;
  /** The node after a node's last descendant. */
  readonly #ends: Uint32Array;
  /** The tokens of node n are `tokens[tokenEnds[n - 1]..tokenEnds[n]]`. */
  readonly #tokenEnds: Uint32Array;
  readonly #tokens: Uint32Array;
  /** Whether every byte is a token, so that every text can be spelled. */
  readonly spellsAll: boolean;

  /** `size` is the vocabulary's: ids are below it. */
  constructor(vocabulary: GrammarVocabulary, size: number) {
    this.#size = size;
    this.#eosTokenIds = vocabulary.eosTokenIds.filter((id) => id < size);
    const entries: { readonly id: number; readonly text: string }[] = [];
    for (let id = 0; id < size; id++) {
      if (vocabulary.isSpecial(id) || vocabulary.eosTokenIds.includes(id)) continue;
      const bytes = vocabulary.tokenBytes(id);
      // A character a byte, since strings are what is sorted fastest.
      if (bytes.length > 0) entries.push({ id, text: Buffer.from(bytes).toString('latin1') });
    }
    entries.sort((a, b) => (a.text < b.text ? -1 : a.text > b.text ? 1 : a.id - b.id));
    const most = entries.reduce((sum, { text }) => sum + text.length, 0);
    const [bytes, depths] = [new Uint8Array(most), new Uint16Array(most)];
    const [ends, tokenEnds] = [new Uint32Array(most), new Uint32Array(most)];
    /** The nodes of the token before, and of this one as far as they are the same. */
    const path: number[] = [];
    let count = 0;
    const close = (depth: number) => {
      for (const node of path.splice(depth)) ends[node] = count;
    };
    let before = '';
    for (const [index, { text }] of entries.entries()) {
      let shared = 0;
      while (shared < before.length && before.charCodeAt(shared) === text.charCodeAt(shared)) shared++;
      close(shared);
      for (let depth = shared; depth < text.length; depth++) {
        bytes[count] = text.charCodeAt(depth);
        depths[count] = depth;
        tokenEnds[count] = index;
        path.push(count++);
      }
      tokenEnds[path.at(-1) as number] = index + 1;
      before = text;
    }
    close(0);
    this.#bytes = bytes.slice(0, count);
    this.#depths = depths.slice(0, count);
    this.#ends = ends.slice(0, count);
    this.#tokenEnds = tokenEnds.slice(0, count);
    this.#tokens = Uint32Array.from(entries, ({ id }) => id);
    this.spellsAll =
      new Set(entries.map(({ text }) => text).filter(({ length }) => length === 1)).size === 256;
  }

  /** The tokens that may come in `state`, found once for each state. */
  mask(machine: Machine, state: MachineState): TokenMask {
    state.mask ??= this.#find(machine, state);
    return state.mask;
  }

  #find(machine: Machine, start: MachineState): TokenMask {
    const bits = new Uint32Array(Math.ceil(this.#size / 32));
    const states: MachineState[] = [];
    let onlyEnd = true;
    for (let node = 0; node < this.#bytes.length; ) {
      const depth = this.#depths[node] as number;
      const state = depth === 0 ? start : (states[depth - 1] as MachineState);
      const next = machine.step(state, this.#bytes[node] as number);
      if (next === null) {
        node = this.#ends[node] as number;
        continue;
      }
      states[depth] = next;
      for (
        let at = node === 0 ? 0 : (this.#tokenEnds[node - 1] as number);
        at < (this.#tokenEnds[node] as number);
        at++
      ) {
        allow(bits, this.#tokens[at] as number);
        onlyEnd = false;
      }
      node++;
    }
    if (start.accepts) for (const id of this.#eosTokenIds) allow(bits, id);
    return { bits, onlyEnd };
  }
}

function allow(bits: Uint32Array, id: number): void {
  bits[id >>> 5] = (bits[id >>> 5] as number) | (1 << (id & 31));
}
