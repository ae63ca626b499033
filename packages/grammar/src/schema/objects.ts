import type { Automaton, Budget } from '../automaton/automaton.ts';
import { automaton, choice, type Expression, repeat, sequence, text } from '../expression.ts';
import { maxFrames } from '../machine.ts';
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
  checkOptional(list, place.at('properties'));
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

/**
 * From the last one to the first: what may come where a member must (`rest`), and where one has just ended (`next`). Each
 * optional property that may come next is one place that the text may be at.
 */
function members(properties: readonly Property[], further: Expression | null): Expression {
  let next = further ? repeat(sequence(comma, further), 0, Number.POSITIVE_INFINITY) : nothing;
  let rest = further ? sequence(further, next) : choice([]);
  let mayEnd = true;
  for (const { member, required } of properties.toReversed()) {
    const here = sequence(member, next);
    rest = required ? here : choice([here, rest]);
    mayEnd &&= !required;
    next = mayEnd ? choice([sequence(comma, rest), nothing]) : sequence(comma, rest);
  }
  return mayEnd ? choice([rest, nothing]) : rest;
}

/** Throws where more properties may come next than a walk can tell apart. */
function checkOptional(properties: readonly Property[], place: SchemaPlace): void {
  let inRow = 0;
  for (const { required } of properties) {
    inRow = required ? 0 : inRow + 1;
    if (inRow > maxOptional) {
      throw place.unsupported(
        `at most ${maxOptional} properties in a row may be optional; let some between them be required`,
      );
    }
  }
}

/** Fewer than a `Machine` takes, since what comes after them and the end are places too. */
const maxOptional = maxFrames - 24;
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
