import type { GrammarMatcher } from './grammars.ts';
import type { GrammarVocabulary } from './token-mask.ts';

const pieces = [
  '", "',
  '": ',
  '{"',
  '"}',
  '},',
  '[{',
  ']}',
  'true',
  'fal',
  'null',
  '12',
  '0.',
  'a"',
  'é',
  '猫',
  '\\n',
  'ab c',
  'name',
  '"name": "',
  '-1',
  'e-',
];
const utf8 = new TextEncoder();
const specialTokens = 3;

/** Every byte, two of everything that is longer, special tokens in front of which the last ends a text, and ids of nothing. */
export const testVocabulary: GrammarVocabulary & { readonly size: number } = {
  size: specialTokens + 256 + 2 * pieces.length + 10,
  eosTokenIds: [2],
  isSpecial: (id) => id < specialTokens,
  tokenBytes(id) {
    if (id < specialTokens) return utf8.encode('</s>');
    const at = id - specialTokens;
    return at < 256
      ? Uint8Array.of(at)
      : utf8
          .encode(pieces[(at - 256) % pieces.length] ?? '')
          .slice(0, at < 256 + 2 * pieces.length ? undefined : 0);
  },
};

export function allowedTokens({ mask }: GrammarMatcher, size: number): number[] {
  return Array.from({ length: size }, (_, id) => id).filter(
    (id) => ((mask.bits[id >>> 5] ?? 0) >>> (id & 31)) & 1,
  );
}

/**
 * A text of a grammar, token by token, as `choose` picks among what is allowed, up to its end or `most` tokens. Tokens that
 * end something are offered by themselves every other time, so that most texts end.
 */
export function randomTokens(matcher: GrammarMatcher, random: () => number, most: number): number[] {
  const tokens: number[] = [];
  const pick = (among: readonly number[]) => among[Math.floor(random() * among.length)];
  while (tokens.length < most) {
    const allowed = allowedTokens(matcher, testVocabulary.size);
    const ending = allowed.filter((id) => id === 2 || /^["\]},]+$/.test(textOf([id])));
    const token = (random() < 0.5 ? pick(ending) : undefined) ?? pick(allowed);
    if (token === undefined) throw new Error(`nothing may follow ${JSON.stringify(textOf(tokens))}`);
    tokens.push(token);
    if (token === 2) return tokens;
    matcher.accept(token);
  }
  return tokens;
}

export function textOf(tokens: readonly number[]): string {
  const bytes = tokens.filter((id) => id !== 2).flatMap((id) => [...testVocabulary.tokenBytes(id)]);
  return new TextDecoder('utf-8', { fatal: false }).decode(Uint8Array.from(bytes));
}
