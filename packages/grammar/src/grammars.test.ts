import { RequestError, ServerError } from '@baton/errors';
import type { GrammarSource } from '@baton/protocol';
import { Ajv2020 } from 'ajv/dist/2020.js';
import formats from 'ajv-formats';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Grammars } from './grammars.ts';
import { anySchema } from './schema/arbitrary-schema.ts';
import { allowedTokens, randomTokens, testVocabulary, textOf } from './testing.ts';

const { size } = testVocabulary;
const ajv = new Ajv2020({ strict: false, allErrors: true, validateSchema: false });
formats.default(ajv);

const source = (schema: unknown): GrammarSource => ({ type: 'json_schema', schema: schema as boolean });
const grammars = new Grammars(testVocabulary, size);
const matcherOf = (grammar: GrammarSource) => grammars.matcher(grammar);

/** Bounds may leave nothing between them, or only numbers with too many digits. */
function fitsSomething(schema: unknown): boolean {
  try {
    matcherOf(source(schema));
    return true;
  } catch (error) {
    if (error instanceof RequestError && /^schema$|[mM]inimum$|[mM]aximum$/.test(error.param ?? ''))
      return false;
    throw error;
  }
}

/** Mulberry32. */
function randomFrom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

describe('the texts of a grammar', () => {
  it('are JSON that fits the schema, for any schema that is supported and any choice of tokens', () => {
    let ended = 0;
    const property = fc.property(anySchema, fc.nat(), (schema, seed) => {
      if (!fitsSomething(schema)) return;
      const random = randomFrom(seed);
      const validate = ajv.compile(schema as object);
      for (let n = 0; n < 6; n++) {
        const tokens = randomTokens(matcherOf(source(schema)), random, 200);
        if (tokens.at(-1) !== 2) continue;
        ended++;
        const text = textOf(tokens);
        expect(validate(JSON.parse(text)), `${text} ${JSON.stringify(validate.errors)}`).toBe(true);
        expect(text).not.toContain('\ufffd');
      }
    });
    fc.assert(property, { numRuns: 100 });
    expect(ended).toBeGreaterThan(100);
  });

  it('are objects, of whatever is in them, where any JSON object will do', () => {
    const random = randomFrom(1);
    let ended = 0;
    for (let n = 0; n < 50; n++) {
      const tokens = randomTokens(matcherOf({ type: 'json_object' }), random, 300);
      if (tokens.at(-1) !== 2) continue;
      ended++;
      expect(JSON.parse(textOf(tokens))).toBeTypeOf('object');
      expect(textOf(tokens)).toMatch(/^\{/);
    }
    expect(ended).toBeGreaterThan(20);
  });

  it('are the objects with all required properties and any of the others, in order', () => {
    const names = ['a', 'b', 'c'];
    const subsets = Array.from({ length: 8 }, (_, bits) => names.filter((_, i) => (bits >> i) & 1));
    const takes = (schema: object, text: string) => {
      const matcher = matcherOf(source(schema));
      try {
        for (const byte of Buffer.from(text)) matcher.accept(byte + 3);
        return allowedTokens(matcher, size).includes(2);
      } catch {
        return false;
      }
    };
    for (const required of subsets) {
      for (const additionalProperties of [false, { type: 'null' }]) {
        const properties = Object.fromEntries(names.map((name) => [name, { type: 'null' }]));
        const schema = { type: 'object', properties, required, additionalProperties };
        for (const present of subsets) {
          const whole = required.every((name) => present.includes(name));
          const text = (all: readonly string[]) => `{${all.map((name) => `"${name}":null`).join(', ')}}`;
          expect(takes(schema, text(present)), text(present)).toBe(whole);
          const more = text([...present, 'x', 'y']);
          expect(takes(schema, more), more).toBe(whole && additionalProperties !== false);
          if (present.length > 1) expect(takes(schema, text(present.toReversed()))).toBe(false);
        }
      }
    }
  });

  it('may leave out any of as many properties as a schema may have', () => {
    const names = Array.from({ length: 1000 }, (_, i) => [`p${i}`, { type: 'null' }] as const);
    const properties = Object.fromEntries(names);
    const matcher = matcherOf(source({ type: 'object', properties, additionalProperties: { type: 'null' } }));
    for (const byte of Buffer.from('{"p0":null, "p1": null,"p900":null,"x":null}')) matcher.accept(byte + 3);
    expect(matcher.mask.onlyEnd).toBe(true);
  });

  it('are restored by their tokens, at every position, with the same tokens to come', () => {
    const property = fc.property(anySchema, fc.nat(), (schema, seed) => {
      if (!fitsSomething(schema)) return;
      const tokens = randomTokens(matcherOf(source(schema)), randomFrom(seed), 60);
      const whole = matcherOf(source(schema));
      for (const [position, token] of tokens.entries()) {
        const replayed = new Grammars(testVocabulary, size).matcher(source(schema));
        for (const earlier of tokens.slice(0, position)) replayed.accept(earlier);
        expect(replayed.mask).toEqual(whole.mask);
        if (token !== 2) whole.accept(token);
      }
    });
    fc.assert(property, { numRuns: 10 });
  });
});

describe('a matcher', () => {
  const schema = { type: 'object', properties: { a: { enum: ['x', 'yy'] } }, required: ['a'] };

  it('allows every token that goes on, however it is cut, and the end only at the end', () => {
    const matcher = matcherOf(source(schema));
    const texts = () => [
      ...new Set(allowedTokens(matcher, size).map((id) => (id === 2 ? 'end' : textOf([id])))),
    ];
    const accept = (text: string) => {
      for (const byte of Buffer.from(text)) matcher.accept(byte + 3);
    };
    expect(texts()).toEqual(['{', '{"']);
    accept('{');
    expect(texts()).toEqual(['"']);
    accept('"a":');
    expect(texts()).toEqual([' ', '"']);
    accept(' "');
    expect(texts()).toEqual(['x', 'y']);
    accept('x');
    expect(texts()).toEqual(['"', '"}']);
    expect(matcher.mask.onlyEnd).toBe(false);
    accept('"}');
    expect([texts(), matcher.mask.onlyEnd]).toEqual([['end'], true]);
  });

  it('refuses a token that does not fit', () => {
    expect(() => matcherOf(source(schema)).accept(3)).toThrow(ServerError);
  });

  it('costs no more for a long bound, and goes on after it has forgotten its states', () => {
    const matcher = matcherOf(source({ type: 'string', maxLength: 9000 }));
    const other = matcherOf(source({ type: 'string', maxLength: 9000 }));
    for (const byte of Buffer.from('"'.padEnd(9001, 'é'))) matcher.accept(byte + 3);
    matcher.accept('"'.charCodeAt(0) + 3);
    expect(matcher.mask.onlyEnd).toBe(true);
    other.accept('"'.charCodeAt(0) + 3);
    expect(other.mask.onlyEnd).toBe(false);
  });

  it('is refused for a vocabulary that cannot spell every text', () => {
    const poor = {
      ...testVocabulary,
      tokenBytes: (id: number) => (id === 70 ? new Uint8Array() : testVocabulary.tokenBytes(id)),
    };
    expect(() => new Grammars(poor, size).matcher({ type: 'json_object' })).toThrow(RequestError);
  });

  it('fails for a schema of which too many parts may be meant', () => {
    const node = {
      anyOf: [1, 2, 3].map((n) => ({ type: 'array', items: { $ref: '#/$defs/node' }, maxItems: n + 5 })),
    };
    const matcher = matcherOf(source({ $ref: '#/$defs/node', $defs: { node } }));
    expect(() => {
      for (let depth = 0; depth < 20; depth++) matcher.accept('['.charCodeAt(0) + 3);
    }).toThrow(/ambiguous/);
  });
});
