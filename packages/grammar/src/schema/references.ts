import { isObject } from './keywords.ts';
import type { SchemaPlace } from './schema-place.ts';

/** What a `$ref` within one schema means: `#`, or `#` and a JSON pointer (RFC 6901). */
export function resolveReference(
  root: unknown,
  pointer: unknown,
  place: SchemaPlace,
): { schema: unknown; keys: (string | number)[] } {
  if (typeof pointer !== 'string' || !/^#(\/|$)/.test(pointer)) {
    throw place.unsupported('must be a JSON pointer within the schema: # or #/$defs/…');
  }
  const keys: (string | number)[] = [];
  let schema = root;
  for (const part of pointer.split('/').slice(1)) {
    const key = unescaped(part, place);
    if (Array.isArray(schema) && /^\d+$/.test(key) && Number(key) < schema.length) {
      keys.push(Number(key));
      schema = schema[Number(key)];
    } else if (isObject(schema) && Object.hasOwn(schema, key)) {
      keys.push(key);
      schema = schema[key];
    } else {
      throw place.invalid(`${JSON.stringify(pointer)} names nothing in the schema`);
    }
  }
  return { schema, keys };
}

function unescaped(part: string, place: SchemaPlace): string {
  try {
    return decodeURIComponent(part).replaceAll('~1', '/').replaceAll('~0', '~');
  } catch {
    throw place.invalid(`${JSON.stringify(part)} is not percent-encoded text`);
  }
}
