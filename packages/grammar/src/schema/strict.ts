import { isObject } from './keywords.ts';
import type { SchemaPlace } from './schema-place.ts';

/**
 * What OpenAI asks of a schema whose `strict` is true: the root is an object, and every object says
 * `additionalProperties: false` and requires all its properties. Throws `RequestError` at the part that does not.
 */
export function checkStrict(schema: unknown, place: SchemaPlace): void {
  if (!isObject(schema) || schema['type'] !== 'object') {
    throw place.at('type').invalid('must be object at the root of a strict schema');
  }
  checkPart(schema, place);
}

function checkPart(schema: unknown, place: SchemaPlace): void {
  if (!isObject(schema)) return;
  const { properties, required, type } = schema;
  if (type === 'object' || (Array.isArray(type) && type.includes('object')) || properties !== undefined) {
    if (schema['additionalProperties'] !== false) {
      throw place.at('additionalProperties').invalid('must be false in a strict schema');
    }
    const missing = Object.keys(isObject(properties) ? properties : {}).find(
      (name) => !(Array.isArray(required) && required.includes(name)),
    );
    if (missing !== undefined) {
      throw place
        .at('required')
        .invalid(`must name every property in a strict schema; ${missing} is missing`);
    }
  }
  for (const keyword of ['properties', '$defs', 'definitions']) {
    const parts = schema[keyword];
    if (!isObject(parts)) continue;
    for (const [name, part] of Object.entries(parts)) checkPart(part, place.at(keyword, name));
  }
  for (const keyword of ['anyOf', 'oneOf', 'allOf', 'prefixItems']) {
    const parts = schema[keyword];
    if (Array.isArray(parts)) for (const [i, part] of parts.entries()) checkPart(part, place.at(keyword, i));
  }
  checkPart(schema['items'], place.at('items'));
}
