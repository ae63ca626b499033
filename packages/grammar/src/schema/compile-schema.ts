import { RequestError } from '@baton/errors';
import { automatonOf, type Budget } from '../automaton/automaton.ts';
import { anyInteger, anyNumber, type Bound, BoundsError, numbersBetween } from '../automaton/numbers.ts';
import { automaton, choice, type Expression, type Reference, reference, text } from '../expression.ts';
import { walkFirstByte } from '../machine.ts';
import { arrayExpression } from './arrays.ts';
import {
  annotations,
  isObject,
  type JsonType,
  jsonTypes,
  keywordTypes,
  type SchemaObject,
  wholes,
} from './keywords.ts';
import { objectExpression } from './objects.ts';
import { checkDisjoint } from './one-of.ts';
import { resolveReference } from './references.ts';
import type { SchemaPlace } from './schema-place.ts';
import { bounds, oneOfTexts, stringExpression } from './strings.ts';

/** Schemas within one schema, each time one is met; bounds what compiling can take. */
const maxSchemas = 5000;
const maxDepth = 100;
/** What looking for ambiguous alternatives may take, in places of the walk. */
const maxPlaces = 200_000;
/** Decimal places of numbers with bounds. */
const decimalPlaces = 6;

/** Compiles the parts of one schema. */
export class SchemaCompiler {
  readonly anyValue: Reference = reference();
  /** Of all automata together, and of those of other schemas beside this one. */
  readonly budget: Budget;
  readonly #root: unknown;
  readonly #rootPlace: SchemaPlace;
  readonly #referenced = new Map<string, Reference>();
  /** What is referred to and not compiled yet: within one another, a long chain of them would overflow the stack. */
  readonly #pending: (() => void)[] = [];
  readonly #alternatives: { readonly options: Expression; readonly place: SchemaPlace }[] = [];
  #schemas = 0;

  constructor(root: unknown, place: SchemaPlace, budget: Budget) {
    this.#root = root;
    this.#rootPlace = place;
    this.budget = budget;
    this.anyValue.target = choice(anyTypes.map((type) => this.#ofType({}, type, place, 0)));
  }

  /** The whole schema: see `compile`. */
  compileRoot(): Expression {
    const grammar = this.compile(this.#root, this.#rootPlace);
    for (const compileNext of this.#pending) compileNext();
    return grammar;
  }

  /**
   * Throws `RequestError` for alternatives that begin alike and are too many for the walk, which otherwise a worker finds while
   * it generates, and cannot say where. What comes to be ambiguous further on is left to it. To be called of a pruned grammar.
   */
  checkAlternatives(): void {
    let left = maxPlaces;
    for (const { options, place } of this.#alternatives) {
      if (left <= 0) return;
      try {
        left -= walkFirstByte(options);
      } catch (error) {
        if (!(error instanceof RequestError)) throw error;
        throw place.unsupported('too many of these begin alike; an enum takes many values');
      }
    }
  }

  /**
   * JSON texts of the values that `schema` allows, or some of them; what it refers to is compiled after it. Throws
   * `RequestError` for what is not supported.
   */
  compile(schema: unknown, place: SchemaPlace, depth = 0): Expression {
    if (++this.#schemas > maxSchemas)
      throw place.unsupported(`there may be at most ${maxSchemas} schemas in one`);
    if (depth > maxDepth) throw place.unsupported(`schemas may be nested ${maxDepth} deep at most`);
    if (schema === true) return this.anyValue;
    if (schema === false) return choice([]);
    if (!isObject(schema)) throw place.invalid('must be a schema: an object or a boolean');
    const keywords = keywordsOf(schema, place);
    const whole = wholes.find((keyword) => keywords.includes(keyword));
    if (whole) return this.#whole(schema, whole, keywords, place, depth);
    const types = typesOf(schema, keywords, place);
    if (types === null) return this.anyValue;
    return choice(types.map((type) => this.#ofType(schema, type, place, depth)));
  }

  #whole(
    schema: SchemaObject,
    whole: (typeof wholes)[number],
    keywords: readonly string[],
    place: SchemaPlace,
    depth: number,
  ): Expression {
    const allowed = whole === 'const' || whole === 'enum' ? [whole, 'type'] : [whole];
    const other = keywords.find((keyword) => !allowed.includes(keyword));
    if (other) throw place.at(other).unsupported(`is not supported beside ${whole}`);
    switch (whole) {
      case '$ref':
        return this.#reference(schema['$ref'], place.at('$ref'));
      case 'const':
        return literals(schema, [schema['const']], place, place.at('const'), this.budget);
      case 'enum':
        return literals(schema, listOf(schema, 'enum', place), place, place.at('enum'), this.budget);
      case 'not':
        if (schema['not'] === true || (isObject(schema['not']) && Object.keys(schema['not']).length === 0)) {
          return choice([]);
        }
        throw place.at('not').unsupported('is supported only as {}, which no value is');
      case 'allOf': {
        const options = listOf(schema, 'allOf', place);
        if (options.length !== 1) throw place.at('allOf').unsupported('is supported with one schema only');
        return this.compile(options[0], place.at('allOf', 0), depth + 1);
      }
      case 'oneOf':
        checkDisjoint(listOf(schema, 'oneOf', place), this.#root, place.at('oneOf'), this.budget);
        return this.#choiceOf(schema, 'oneOf', place, depth);
      case 'anyOf':
        return this.#choiceOf(schema, 'anyOf', place, depth);
    }
  }

  #choiceOf(schema: SchemaObject, keyword: string, place: SchemaPlace, depth: number): Expression {
    const list = listOf(schema, keyword, place);
    const options = choice(list.map((option, i) => this.compile(option, place.at(keyword, i), depth + 1)));
    this.#alternatives.push({ options, place: place.at(keyword) });
    return options;
  }

  /** Compiled once for each pointer, however often it is referred to, and also from within itself. */
  #reference(pointer: unknown, place: SchemaPlace): Expression {
    const { schema, keys } = resolveReference(this.#root, pointer, place);
    const name = JSON.stringify(keys);
    const known = this.#referenced.get(name);
    if (known) return known;
    const made = reference();
    this.#referenced.set(name, made);
    this.#pending.push(() => {
      made.target = this.compile(schema, this.#rootPlace.at(...keys));
    });
    return made;
  }

  #ofType(schema: SchemaObject, type: JsonType, place: SchemaPlace, depth: number): Expression {
    switch (type) {
      case 'object':
        return objectExpression(schema, place, this, depth);
      case 'array':
        return arrayExpression(schema, place, this, depth);
      case 'string':
        return stringExpression(schema, place, this.budget);
      case 'number':
      case 'integer':
        return numberExpression(schema, type, place, this.budget);
      case 'boolean':
        return choice([text('true'), text('false')]);
      case 'null':
        return text('null');
    }
  }
}

const anyTypes = ['object', 'array', 'string', 'number', 'boolean', 'null'] as const;
const numbers = { integer: automaton(automatonOf(anyInteger)), number: automaton(automatonOf(anyNumber)) };

/** The keywords that say something. */
function keywordsOf(schema: SchemaObject, place: SchemaPlace): string[] {
  const keywords = Object.keys(schema).filter((key) => !annotations.has(key) && !key.startsWith('x-'));
  const supported = ['type', ...wholes, ...keywordTypes.keys()];
  const unknown = keywords.find((keyword) => !supported.includes(keyword));
  if (unknown !== undefined) {
    throw place.at(unknown).unsupported(`this keyword is not supported; supported: ${supported.join(', ')}`);
  }
  return keywords;
}

/** The types a value may have; null for any. A schema that names none is about the values that its keywords are about. */
function typesOf(schema: SchemaObject, keywords: readonly string[], place: SchemaPlace): JsonType[] | null {
  const { type } = schema;
  if (type === undefined) {
    const implied = new Set(keywords.flatMap((keyword) => keywordTypes.get(keyword) ?? []));
    return implied.size === 0 ? null : [...implied];
  }
  const types: unknown[] = Array.isArray(type) ? type : [type];
  for (const each of types) {
    if (!jsonTypes.includes(each as JsonType)) {
      throw place.at('type').invalid(`${JSON.stringify(each)} is no type; types: ${jsonTypes.join(', ')}`);
    }
  }
  if (types.length === 0) throw place.at('type').invalid('must name at least one type');
  // An integer is a number too.
  return (types as JsonType[]).filter((each) => each !== 'integer' || !types.includes('number'));
}

function literals(
  schema: SchemaObject,
  values: readonly unknown[],
  place: SchemaPlace,
  at: SchemaPlace,
  budget: Budget,
): Expression {
  const types = schema['type'] === undefined ? null : typesOf(schema, [], place);
  const right = values.filter((value) => types === null || types.some((type) => isOfType(value, type)));
  const texts = right.map((value) => JSON.stringify(value));
  if (texts.some((each) => /\\ud[89a-f]/i.test(each))) throw at.unsupported('holds half a surrogate pair');
  return texts.length === 0 ? choice([]) : oneOfTexts(texts, at, budget);
}

function isOfType(value: unknown, type: JsonType): boolean {
  switch (type) {
    case 'null':
      return value === null;
    case 'array':
      return Array.isArray(value);
    case 'object':
      return isObject(value);
    case 'integer':
      return Number.isInteger(value);
    default:
      return typeof value === type;
  }
}

function numberExpression(
  schema: SchemaObject,
  type: 'number' | 'integer',
  place: SchemaPlace,
  budget: Budget,
): Expression {
  const min = tighter(bound(schema, 'minimum', place), bound(schema, 'exclusiveMinimum', place), 1);
  const max = tighter(bound(schema, 'maximum', place), bound(schema, 'exclusiveMaximum', place), -1);
  if (min === null && max === null) return numbers[type];
  try {
    return bounds(place, () =>
      automaton(automatonOf(numbersBetween(min, max, type === 'integer' ? 0 : decimalPlaces), budget)),
    );
  } catch (error) {
    if (!(error instanceof BoundsError)) throw error;
    const keyword = ['minimum', 'exclusiveMinimum', 'maximum', 'exclusiveMaximum'].find(
      (key) => key in schema,
    );
    throw place.at(keyword ?? 'minimum').unsupported(error.message);
  }
}

function bound(schema: SchemaObject, keyword: string, place: SchemaPlace): Bound | null {
  const value = schema[keyword];
  if (value === undefined) return null;
  if (typeof value !== 'number') throw place.at(keyword).invalid('must be a number');
  return { value, exclusive: keyword.startsWith('exclusive') };
}

function tighter(a: Bound | null, b: Bound | null, sign: 1 | -1): Bound | null {
  if (a === null || b === null) return a ?? b;
  // At the same value the exclusive one, which is the second, says more.
  return sign * a.value > sign * b.value ? a : b;
}

function listOf(schema: SchemaObject, keyword: string, place: SchemaPlace): unknown[] {
  const list = schema[keyword];
  if (!Array.isArray(list) || list.length === 0)
    throw place.at(keyword).invalid('must be a list that is not empty');
  return list;
}
