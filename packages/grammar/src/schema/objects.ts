import type { Automaton, Budget } from '../automaton/automaton.ts';
import { automaton, choice, type Expression, repeat, sequence, text } from '../expression.ts';
import type { SchemaCompiler } from './compile-schema.ts';
import { isObject, type SchemaObject } from './keywords.ts';
import type { SchemaPlace } from './schema-place.ts';
import { comma, member } from './separators.ts';
import { isAmong, otherNames, stringAutomaton } from './strings.ts';

interface Property {
  readonly member: Expression;
  readonly required: boolean;
}

/**
 * Objects with their properties in the order of the schema, and others after them where `additionalProperties` allows them
 * in so many words, or nothing is said about properties at all.
 */
export function objectExpression(
  schema: SchemaObject,
  place: SchemaPlace,
  compiler: SchemaCompiler,
  depth: number,
): Expression {
  const { properties = {}, additionalProperties } = schema;
  if (!isObject(properties)) throw place.at('properties').invalid('must be an object of schemas');
  const required = requiredNames(schema, place);
  const others = additionalProperties ?? Object.keys(properties).length + required.length === 0;
  const names = [...new Set([...Object.keys(properties), ...required])];
  const right = rightNames(schema, place, compiler.budget);
  const list = names.map((name): Property => {
    if (!isAmong(right, name)) return { member: choice([]), required: required.includes(name) };
    const listed = Object.hasOwn(properties, name);
    const value = listed
      ? compiler.compile(properties[name], place.at('properties', name), depth + 1)
      : compiler.compile(additionalProperties ?? true, place.at('additionalProperties'), depth + 1);
    return { member: member(text(JSON.stringify(name)), value), required: required.includes(name) };
  });
  const further =
    others === false
      ? null
      : member(
          sequence(
            text('"'),
            automaton(otherNames(right, names, place.at('properties'), compiler.budget)),
            text('"'),
          ),
          compiler.compile(others, place.at('additionalProperties'), depth + 1),
        );
  return sequence(text('{'), members(list, further), text('}'));
}

/** From the last one to the first: what may follow where nothing is there yet, and where something is. */
function members(properties: readonly Property[], further: Expression | null): Expression {
  let [first, next]: [Expression, Expression] = [nothing, nothing];
  if (further) {
    next = repeat(sequence(comma, further), 0, Number.POSITIVE_INFINITY);
    first = choice([nothing, sequence(further, next)]);
  }
  for (const { member, required } of properties.toReversed()) {
    const [here, after] = [sequence(member, next), sequence(comma, member, next)];
    first = required ? here : choice([here, first]);
    next = required ? after : choice([after, next]);
  }
  return first;
}

const nothing = sequence();

/** What may stand between the quotes of a property's name. */
function rightNames(schema: SchemaObject, place: SchemaPlace, budget: Budget): Automaton {
  const { propertyNames = {} } = schema;
  const at = place.at('propertyNames');
  if (!isObject(propertyNames)) throw at.invalid('must be an object');
  const unknown = Object.keys(propertyNames).find((key) => !nameKeywords.includes(key));
  if (unknown !== undefined) throw at.at(unknown).unsupported(`supported here: ${nameKeywords.join(', ')}`);
  if (![undefined, 'string'].includes(propertyNames['type'] as string)) {
    throw at.at('type').invalid('must be string');
  }
  return stringAutomaton(propertyNames, at, budget);
}

const nameKeywords = ['type', 'pattern', 'format', 'minLength', 'maxLength'];

function requiredNames(schema: SchemaObject, place: SchemaPlace): string[] {
  const { required = [] } = schema;
  if (Array.isArray(required) && required.every((name) => typeof name === 'string')) return required;
  throw place.at('required').invalid('must be a list of names');
}
