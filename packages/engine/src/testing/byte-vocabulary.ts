import type { Vocabulary } from '../sequence.ts';

const specialTokens = ['<unk>', '<s>', '</s>'];
const utf8 = new TextEncoder();

/** One token a byte, after `<unk>`, `<s>` and `</s>`: every character beyond ASCII spans several tokens. */
export const byteVocabulary: Vocabulary & { readonly size: number; encode(text: string): number[] } = {
  size: specialTokens.length + 256,
  eosTokenIds: [2],
  stripsLeadingSpace: false,
  isSpecial: (id) => id < specialTokens.length,
  tokenBytes(id) {
    if (id >= this.size) return new Uint8Array();
    const special = specialTokens[id];
    return special === undefined ? Uint8Array.of(id - specialTokens.length) : utf8.encode(special);
  },
  encode: (text) => Array.from(utf8.encode(text), (byte) => byte + specialTokens.length),
};
