import { RequestError } from '@baton/errors';
import type { GrammarSource } from '@baton/protocol';
import type { Expression } from './expression.ts';
import { prune } from './prune.ts';
import { SchemaCompiler } from './schema/compile-schema.ts';
import { SchemaPlace } from './schema/schema-place.ts';

/** Longest schema, as JSON. */
const maxCharacters = 100_000;

/**
 * The grammar of the texts that `source` asks for: JSON without any space but one after a comma or a colon. Throws
 * `RequestError` for a schema that is wrong, not supported or too large; `param` is where the schema is in the request, and
 * the error's `param` the part of it that is to blame.
 */
export function compileGrammar(source: GrammarSource, param: string): Expression {
  const place = new SchemaPlace(param);
  const schema = source.type === 'json_object' ? { type: 'object' } : source.schema;
  const { length } = JSON.stringify(schema);
  if (length > maxCharacters) {
    throw new RequestError(
      'invalid_value',
      `'${param}': ${length} characters are more than ${maxCharacters}`,
      param,
    );
  }
  const grammar = new SchemaCompiler(schema, place).compile(schema, place);
  if (!prune(grammar)) throw place.invalid('no value of finite size fits this schema');
  return grammar;
}
