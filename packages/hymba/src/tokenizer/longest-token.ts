import { z } from 'zod';
import type { TokenizerFiles } from './files.ts';
import { byteOfCharacter } from './token-table.ts';

const normalizer = z.union([
  z.null(),
  z.looseObject({ type: z.literal('Prepend') }),
  z
    .looseObject({
      type: z.literal('Replace'),
      pattern: z.object({ String: z.string() }),
      content: z.string(),
    })
    .refine(({ pattern, content }) => content.length >= pattern.String.length),
  z.looseObject({
    type: z.literal('Sequence'),
    get normalizers() {
      return z.array(normalizer);
    },
  }),
]);

const preTokenizer = z.union([
  z.null(),
  z.looseObject({ type: z.literal(['ByteLevel', 'Metaspace', 'Digits']) }),
  z.looseObject({
    type: z.literal('Sequence'),
    get pretokenizers() {
      return z.array(preTokenizer);
    },
  }),
]);

/** What leaves no character out and joins none: by name, since whatever is not listed might. */
const keepsAll = z.looseObject({
  normalizer,
  pre_tokenizer: preTokenizer,
  model: z.looseObject({ type: z.literal('BPE') }),
  // One that strips takes any number of spaces beside it with it.
  added_tokens: z.array(
    z.looseObject({ lstrip: z.literal(false).optional(), rstrip: z.literal(false).optional() }),
  ),
});
const addsAll = z.looseObject({
  remove_space: z.literal(false).optional(),
  do_lowercase_and_remove_accent: z.literal(false).optional(),
});

/**
 * The most characters (UTF-16 code units) of a text that one token can stand for: a text of `n` has `n` divided by this many
 * tokens or more. Null where a token may stand for any number, as those do that a normaliser drops or an unknown token hides.
 */
export function longestToken({ tokenizer, config }: TokenizerFiles): number | null {
  const { vocab } = tokenizer.model;
  if (Array.isArray(vocab) || !keepsAll.safeParse(tokenizer).success || !addsAll.safeParse(config).success)
    return null;
  const has = (token: string) => Object.hasOwn(vocab, token);
  const anyByte =
    tokenizer.model['byte_fallback'] === true
      ? Array.from({ length: 256 }, (_, byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`)
      : usesByteLevel(tokenizer['pre_tokenizer'])
        ? [...byteOfCharacter.keys()]
        : null;
  if (!anyByte?.every(has)) return null;
  const added = tokenizer.added_tokens.map(({ content }) => content);
  return [...Object.keys(vocab), ...added].reduce((longest, { length }) => Math.max(longest, length), 1);
}

function usesByteLevel(given: unknown): boolean {
  const steps = preTokenizer.safeParse(given).data;
  if (!steps) return false;
  return 'pretokenizers' in steps && Array.isArray(steps.pretokenizers)
    ? steps.pretokenizers.some(usesByteLevel)
    : steps.type === 'ByteLevel';
}
