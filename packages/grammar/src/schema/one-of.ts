import { isDeepStrictEqual } from 'node:util';
import { isObject, type SchemaObject } from './keywords.ts';
import { resolveReference } from './references.ts';
import type { SchemaPlace } from './schema-place.ts';

/**
 * Of `oneOf`, exactly one schema may hold, which a grammar can promise only where no value fits two: they have different
 * types, or all require a property that has another constant value in each.
 */
export function checkDisjoint(options: readonly unknown[], root: unknown, place: SchemaPlace): void {
  const schemas = options.map((option) => follow(option, root, place));
  for (const [j, b] of schemas.entries()) {
    for (const a of schemas.slice(0, j)) {
      if (haveOtherTypes(a, b) || haveOtherMarks(a, b, root, place)) continue;
      throw place
        .at(j)
        .unsupported(
          'a value might fit this schema and another one; let them differ in type or in the const of a required property, or use anyOf',
        );
    }
  }
}

function haveOtherTypes(a: SchemaObject, b: SchemaObject): boolean {
  const [ofA, ofB] = [types(a), types(b)];
  return ofA.length > 0 && ofB.length > 0 && !ofA.some((type) => ofB.includes(type));
}

function haveOtherMarks(a: SchemaObject, b: SchemaObject, root: unknown, place: SchemaPlace): boolean {
  if (a['type'] !== 'object' || b['type'] !== 'object') return false;
  const [ofA, ofB] = [marks(a, root, place), marks(b, root, place)];
  return [...ofA].some(([name, values]) => {
    const others = ofB.get(name);
    return (
      others !== undefined && !values.some((value) => others.some((other) => isDeepStrictEqual(value, other)))
    );
  });
}

/** Properties that are always there, with the few values they may have. */
function marks(schema: SchemaObject, root: unknown, place: SchemaPlace): Map<string, unknown[]> {
  const { properties, required } = schema;
  if (!isObject(properties) || !Array.isArray(required)) return new Map();
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
