import { fileURLToPath } from 'node:url';
import { tinyStoriesCheckpoint } from '@baton/testing';
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { Detokenizer } from './detokenizer.ts';
import { loadTokenizer, type Tokenizer } from './tokenizer.ts';

const checkpoints = {
  'byte-level': tinyStoriesCheckpoint(),
  sentencepiece: fileURLToPath(new URL('fixtures/sentencepiece', import.meta.url)),
};

describe.each(Object.entries(checkpoints))('over a %s vocabulary', (_, dir) => {
  let tokenizer: Tokenizer;
  let anyTokens: fc.Arbitrary<number[]>;
  beforeAll(async () => {
    tokenizer = await loadTokenizer(dir);
    const { size } = tokenizer;
    const texts = fc
      .array(
        fc.oneof(
          fc.constantFrom('👩‍👩‍👧', '🇫🇮', 'é', '猫', 'ภาษา', ' the', '  '),
          fc.string({ unit: 'binary' }),
        ),
      )
      .map((parts) => tokenizer.encode(parts.join(''), { addSpecialTokens: false }));
    // Texts, cut and interrupted anywhere, and plain noise.
    anyTokens = fc.oneof(
      fc.array(fc.nat(size), { maxLength: 40 }),
      fc.tuple(texts, fc.nat(60), fc.nat(60)).map(([ids, from, to]) => ids.slice(from, to)),
      fc.tuple(texts, fc.nat(size), fc.nat(20)).map(([ids, odd, at]) => ids.toSpliced(at, 1, odd)),
    );
  });
  const start = () => new Detokenizer(tokenizer, { startOfText: true });

  it('gives, in pieces, exactly the text of all tokens', () => {
    fc.assert(
      fc.property(anyTokens, (tokens) => {
        const detokenizer = start();
        const text = tokens.map((token) => detokenizer.push(token)).join('') + detokenizer.flush();
        expect(text).toBe(tokenizer.decode(tokens));
      }),
      { numRuns: 500 },
    );
  });

  it('never takes back what it gave, whatever comes next', () => {
    fc.assert(
      fc.property(anyTokens, anyTokens, (tokens, next) => {
        const detokenizer = start();
        const text = tokens.map((token) => detokenizer.push(token)).join('');
        expect(tokenizer.decode([...tokens, ...next]).startsWith(text)).toBe(true);
      }),
      { numRuns: 500 },
    );
  });

  it('is restored by pushing the same tokens again', () => {
    fc.assert(
      fc.property(anyTokens, anyTokens, (replayed, next) => {
        const first = start();
        const second = start();
        for (const token of replayed) first.push(token);
        for (const token of replayed) second.push(token);
        expect(next.map((token) => second.push(token))).toEqual(next.map((token) => first.push(token)));
        expect(second.flush()).toBe(first.flush());
      }),
    );
  });

  it('holds a character back until its last byte, and shows none that is only half there', () => {
    for (const text of ['👩‍👩‍👧', 'naïve 🇫🇮 猫']) {
      const detokenizer = start();
      const pieces = tokenizer
        .encode(text, { addSpecialTokens: false })
        .map((token) => detokenizer.push(token));
      expect(pieces.join('')).toBe(text);
      expect(pieces.join('')).not.toContain('\ufffd');
      expect(detokenizer.flush()).toBe('');
    }
    const cut = start();
    const pieces = tokenizer
      .encode('👩', { addSpecialTokens: false })
      .slice(0, -1)
      .map((token) => cut.push(token));
    expect(pieces.join('')).toBe('');
    expect(cut.flush()).toBe('\ufffd');
  });
});

it('keeps the space of a word that continues a text, and drops it at the start of one', async () => {
  const tokenizer = await loadTokenizer(checkpoints.sentencepiece);
  const [the, cat] = tokenizer.encode('the cat', { addSpecialTokens: false }) as [number, number];
  const text = (options: { startOfText: boolean }) => {
    const detokenizer = new Detokenizer(tokenizer, options);
    return [1, the, cat].map((token) => detokenizer.push(token));
  };
  expect(text({ startOfText: true })).toEqual(['', 'the', ' cat']);
  expect(text({ startOfText: false })).toEqual(['', ' the', ' cat']);
});
