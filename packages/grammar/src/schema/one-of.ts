import { isDeepStrictEqual } from 'node:util';
import type { Budget } from '../automaton/automaton.ts';
import { isObject, type SchemaObject } from './keywords.ts';
import { resolveReference } from './references.ts';
import type { SchemaPlace } from './schema-place.ts';
import { bounds } from './strings.ts';

/**
 * Of `oneOf`, exactly one schema may hold, which a grammar can promise only where no value fits two: they have different
 * types, or all require a property that has another constant value in each.
 */
export function checkDisjoint(
  options: readonly unknown[],
  root: unknown,
  place: SchemaPlace,
  budget: Budget,
): void {
  const looked = options.map((option) => {
    const schema = follow(option, root, place);
    return { types: types(schema), marks: marks(schema, root, place) };
  });
  for (const [j, b] of looked.entries()) {
    for (const a of looked.slice(0, j)) {
      if (bounds(place, () => haveOtherTypes(a, b, budget) || haveOtherMarks(a, b, budget))) continue;
      throw place
        .at(j)
        .unsupported(
          'a value might fit this schema and another one; let them differ in type or in the const of a required property, or use anyOf',
        );
    }
  }
}

/** What one schema of `oneOf` says of its values. */
interface Option {
  readonly types: readonly string[];
  readonly marks: ReadonlyMap<string, readonly unknown[]>;
}

function haveOtherTypes(a: Option, b: Option, budget: Budget): boolean {
  budget.spend(1 + a.types.length * b.types.length);
  return a.types.length > 0 && b.types.length > 0 && !a.types.some((type) => b.types.includes(type));
}

function haveOtherMarks(a: Option, b: Option, budget: Budget): boolean {
  return [...a.marks].some(([name, values]) => {
    const others = b.marks.get(name);
    if (others === undefined) return false;
    budget.spend(values.length * others.length);
    return !values.some((value) => others.some((other) => isDeepStrictEqual(value, other)));
  });
}

/** An object's properties that are always there, with the few values they may have. */
function marks(schema: SchemaObject, root: unknown, place: SchemaPlace): Map<string, unknown[]> {
  const { type, properties, required } = schema;
  if (type !== 'object' || !isObject(properties) || !Array.isArray(required)) return new Map();
  return new Map(
    required
      .filter((name) => Object.hasOwn(properties, name))
      .flatMap((name: string) => {
        const values = valuesOf(follow(properties[name], root, place));
        return values ? [[name, values] as const] : [];
      }),
  );
}

function valuesOf(schema: SchemaObject): unknown[] | null {
  if ('const' in schema) return [schema['const']];
  return Array.isArray(schema['enum']) ? schema['enum'] : null;
}

function types(schema: SchemaObject): string[] {
  const values = valuesOf(schema);
  const named = values ? values.map(typeOf) : [schema['type'] ?? []].flat();
  return named.map((type) => (type === 'integer' ? 'number' : String(type)));
}

function typeOf(value: unknown): string {
  if (value === null) return 'null';
  return Array.isArray(value) ? 'array' : typeof value;
}

/** The schema behind a `$ref`, or behind a chain of them that is not endless. */
function follow(schema: unknown, root: unknown, place: SchemaPlace): SchemaObject {
  let found = schema;
  for (let n = 0; n < 10 && isObject(found) && found['$ref'] !== undefined; n++) {
    found = resolveReference(root, found['$ref'], place).schema;
  }
  return isObject(found) ? found : {};
}
