import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { accepts, automatonOf, Budget, difference, intersection } from './automaton.ts';
import { anyCodePoint, complement, jsonCharacter } from './characters.ts';
import { formatPatterns } from './formats.ts';
import { anyInteger, anyNumber, numbersBetween } from './numbers.ts';
import { patternLanguage } from './pattern.ts';

const inside = (text: string) => JSON.stringify(text).slice(1, -1);

describe('patterns', () => {
  const patterns = [
    '^[a-c]{2,3}$',
    'b',
    '^a|b$',
    '(?:ab?)*c',
    '[^a\\d]\\s',
    '^\\w+-\\W$',
    '.\\.',
    '^(a|"|\\\\)*$',
    '猫+|[\\u{1F600}-\\u{1F64F}]',
    'a{0}b{2,}',
    '^$',
    '^',
    '\\n|\\u0001',
  ];
  const text = fc.string({ unit: fc.constantFrom(...'abc09-. "\\\n\u0001猫é😀_\u2028'), maxLength: 6 });

  it.each(patterns)('%s holds the strings that it matches', (pattern) => {
    const automaton = automatonOf(patternLanguage(pattern, new Budget()));
    const expression = new RegExp(pattern, 'u');
    const property = fc.property(text, (string) => {
      expect(accepts(automaton, inside(string)), JSON.stringify(string)).toBe(expression.test(string));
    });
    fc.assert(property, { numRuns: 300 });
  });

  it('of all formats are such patterns', () => {
    for (const pattern of formatPatterns.values()) {
      expect(automatonOf(patternLanguage(pattern, new Budget())).states.length).toBeGreaterThan(5);
    }
  });
});

describe('characters', () => {
  it('are those of the set, in UTF-8 or escaped, one spelling each', () => {
    const set = fc.array(
      fc.tuple(fc.nat(0x10ffff), fc.nat(0x10ffff)).map(([a, b]) => [Math.min(a, b), Math.max(a, b)] as const),
      {
        minLength: 1,
        maxLength: 3,
      },
    );
    const property = fc.property(
      set,
      fc.string({ unit: 'binary', minLength: 1, maxLength: 1 }),
      (ranges, character) => {
        const point = character.codePointAt(0) ?? 0;
        const isIn = ranges.some(([from, to]) => point >= from && point <= to);
        expect(accepts(automatonOf(jsonCharacter(ranges)), inside(character))).toBe(isIn);
        expect(accepts(automatonOf(jsonCharacter(complement(ranges))), inside(character))).toBe(!isIn);
      },
    );
    fc.assert(property, { numRuns: 20 });
    const any = automatonOf(jsonCharacter(anyCodePoint));
    for (const other of ['\\u0041', '\\/', '"', '\\', 'ab', ''])
      expect(accepts(any, other), other).toBe(false);
  });
});

describe('numbers', () => {
  it('are those between the bounds', () => {
    const bound = fc.oneof(
      fc.integer({ min: -2000, max: 2000 }),
      fc.integer({ min: -9999, max: 9999 }).map((n) => n / 100),
    );
    const property = fc.property(
      bound,
      bound,
      fc.boolean(),
      bound,
      fc.nat(2),
      (a, b, exclusive, value, places) => {
        const [min, max] = [Math.min(a, b), Math.max(a, b)];
        const language = numbersBetween({ value: min, exclusive }, { value: max, exclusive }, places);
        const automaton = automatonOf(language);
        const isBetween = exclusive ? value > min && value < max : value >= min && value <= max;
        const decimals = String(value).split('.')[1]?.length ?? 0;
        if (places > 0 || decimals === 0) {
          if (decimals <= places) expect(accepts(automaton, String(value))).toBe(isBetween);
        } else expect(accepts(automaton, String(value))).toBe(false);
      },
    );
    fc.assert(property, { numRuns: 500 });
  });

  it('without bounds are such as JavaScript keeps', () => {
    for (const right of ['0', '-1', '10', '999999999999999'])
      expect(accepts(automatonOf(anyInteger), right)).toBe(true);
    for (const wrong of ['01', '-0', '1.0', '9999999999999999', '', '-']) {
      expect(accepts(automatonOf(anyInteger), wrong), wrong).toBe(false);
    }
    for (const right of ['0.5', '-1e-9', '1E+20', '0'])
      expect(accepts(automatonOf(anyNumber), right)).toBe(true);
    for (const wrong of ['.5', '1.', '1e999', '+1', '1e']) {
      expect(accepts(automatonOf(anyNumber), wrong), wrong).toBe(false);
    }
  });
});

describe('automata', () => {
  it('of both and of one without the other are what they say', () => {
    const made = (pattern: string) => automatonOf(patternLanguage(pattern, new Budget()));
    const both = intersection(made('^[ab]*$'), made('b$'));
    const rest = difference(made('^[ab]{0,2}$'), made('^(ab|a)$'));
    for (const text of ['', 'a', 'b', 'ab', 'ba', 'bb', 'cb']) {
      expect(accepts(both, text), text).toBe(/^[ab]*b$/.test(text));
      expect(accepts(rest, text), text).toBe(/^[ab]{0,2}$/.test(text) && text !== 'ab' && text !== 'a');
    }
    expect(difference(made('^a$'), made('a')).states).toEqual([]);
  });
});
