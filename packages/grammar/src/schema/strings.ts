import {
  type Automaton,
  accepts,
  automatonOf,
  type Budget,
  difference,
  intersection,
  TooLargeError,
} from '../automaton/automaton.ts';
import { anyCodePoint, jsonCharacter } from '../automaton/characters.ts';
import { formatPatterns } from '../automaton/formats.ts';
import { PatternError, patternLanguage } from '../automaton/pattern.ts';
import { choice as anyOf, literal, made, repeat as repeated } from '../automaton/regular.ts';
import { automaton, choice, type Expression, repeat, sequence, text } from '../expression.ts';
import type { SchemaObject } from './keywords.ts';
import type { SchemaPlace } from './schema-place.ts';

const character = jsonCharacter(anyCodePoint);
const oneCharacter = automatonOf(character);
const anyCharacters = automatonOf(repeated(character, 0, Number.POSITIVE_INFINITY));
/** No text of a model is as long: more is no bound. */
const longest = 1_000_000;

const anyString: Expression = quoted(automaton(anyCharacters));

export function stringExpression(schema: SchemaObject, place: SchemaPlace, budget: Budget): Expression {
  if (schema['pattern'] !== undefined || schema['format'] !== undefined) {
    return quoted(automaton(stringAutomaton(schema, place, budget)));
  }
  const { min, max } = lengths(schema, place);
  if (min > max) return choice([]);
  return min === 0 && max === Number.POSITIVE_INFINITY
    ? anyString
    : quoted(repeat(automaton(oneCharacter), min, max));
}

/** What may stand between the quotes. `format` only labels a string that has a `pattern`. */
export function stringAutomaton(schema: SchemaObject, place: SchemaPlace, budget: Budget): Automaton {
  const { min, max } = lengths(schema, place);
  const bounded = min > 0 || max < Number.POSITIVE_INFINITY;
  const source = schema['pattern'] === undefined ? formatOf(schema, place) : patternOf(schema, place);
  const form =
    source && bounds(place.at(source.keyword), () => automatonOf(patternIn(source, place, budget), budget));
  if (!bounded) return form ?? anyCharacters;
  return bounds(place.at(schema['maxLength'] === undefined ? 'minLength' : 'maxLength'), () => {
    const length = automatonOf(repeated(made(oneCharacter), min, max), budget);
    return form ? intersection(form, length, budget) : length;
  });
}

export function isAmong(names: Automaton, name: string): boolean {
  return accepts(names, inside(name));
}

/** The names among `names` that are none of `taken`, as what stands between the quotes. */
export function otherNames(
  names: Automaton,
  taken: readonly string[],
  place: SchemaPlace,
  budget: Budget,
): Automaton {
  return bounds(place, () => {
    const known = automatonOf(anyOf(taken.map((name) => literal(inside(name)))), budget);
    return difference(names, known, budget);
  });
}

/** Exactly one of these JSON texts. */
export function oneOfTexts(texts: readonly string[], place: SchemaPlace, budget: Budget): Expression {
  const [only, ...others] = texts;
  if (only !== undefined && others.length === 0) return text(only);
  return automaton(bounds(place, () => automatonOf(anyOf(texts.map(literal)), budget)));
}

function quoted(inner: Expression): Expression {
  return sequence(text('"'), inner, text('"'));
}

function inside(name: string): string {
  return JSON.stringify(name).slice(1, -1);
}

interface Source {
  readonly keyword: 'pattern' | 'format';
  readonly pattern: string;
}

function patternOf(schema: SchemaObject, place: SchemaPlace): Source {
  const { pattern } = schema;
  if (typeof pattern !== 'string') throw place.at('pattern').invalid('must be a string');
  return { keyword: 'pattern', pattern };
}

function formatOf(schema: SchemaObject, place: SchemaPlace): Source | null {
  const { format } = schema;
  if (format === undefined) return null;
  const pattern = formatPatterns.get(String(format));
  if (pattern !== undefined) return { keyword: 'format', pattern };
  const listed = [...formatPatterns.keys()].join(', ');
  throw place.at('format').unsupported(`${JSON.stringify(format)} is not supported; supported: ${listed}`);
}

function patternIn({ keyword, pattern }: Source, place: SchemaPlace, budget: Budget) {
  try {
    return patternLanguage(pattern, budget);
  } catch (error) {
    if (error instanceof PatternError) throw place.at(keyword).unsupported(error.message);
    throw error;
  }
}

function lengths(schema: SchemaObject, place: SchemaPlace): { min: number; max: number } {
  const min = place.count(schema, 'minLength') ?? 0;
  const max = place.count(schema, 'maxLength') ?? Number.POSITIVE_INFINITY;
  if (min > longest) throw place.at('minLength').unsupported(`must be at most ${longest}`);
  return { min, max: max > longest ? Number.POSITIVE_INFINITY : max };
}

/** What is too large is blamed on `place`. */
export function bounds<T>(place: SchemaPlace, make: () => T): T {
  try {
    return make();
  } catch (error) {
    if (error instanceof TooLargeError)
      throw place.unsupported(
        'needs too large an automaton, by itself or together with what comes before it',
      );
    throw error;
  }
}
