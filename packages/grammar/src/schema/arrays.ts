import { choice, type Expression, repeat, sequence, text } from '../expression.ts';
import type { SchemaCompiler } from './compile-schema.ts';
import type { SchemaObject } from './keywords.ts';
import type { SchemaPlace } from './schema-place.ts';
import { comma } from './separators.ts';

/** No text of a model has as many: more is no bound. */
const most = 1_000_000;

/**
 * Arrays; `prefixItems` are always there, as far as `maxItems` lets them, and others after them where `items` or `minItems`
 * asks for some.
 */
export function arrayExpression(
  schema: SchemaObject,
  place: SchemaPlace,
  compiler: SchemaCompiler,
  depth: number,
): Expression {
  const { prefixItems = [] } = schema;
  if (!Array.isArray(prefixItems)) throw place.at('prefixItems').invalid('must be a list of schemas');
  const { min, max } = counts(schema, place);
  const items = schema['items'] ?? (prefixItems.length === 0 || min > prefixItems.length);
  if (Array.isArray(items))
    throw place.at('items').unsupported('must be one schema; a list of them is prefixItems');
  const prefix = prefixItems
    .map((item, i) => compiler.compile(item, place.at('prefixItems', i), depth + 1))
    .slice(0, max);
  const item = compiler.compile(items, place.at('items'), depth + 1);
  const inside = [...prefix.flatMap((each, i) => (i === 0 ? [each] : [comma, each]))];
  const [atLeast, atMost] = [Math.max(0, min - prefix.length), max - prefix.length];
  if (atLeast > atMost) return choice([]);
  const further = sequence(comma, item);
  if (prefix.length > 0) return sequence(text('['), ...inside, repeat(further, atLeast, atMost), text(']'));
  const some = sequence(item, repeat(further, Math.max(0, atLeast - 1), atMost - 1));
  if (atMost === 0) return text('[]');
  return sequence(text('['), atLeast === 0 ? choice([sequence(), some]) : some, text(']'));
}

function counts(schema: SchemaObject, place: SchemaPlace): { min: number; max: number } {
  const min = place.count(schema, 'minItems') ?? 0;
  const max = place.count(schema, 'maxItems') ?? Number.POSITIVE_INFINITY;
  if (min > most) throw place.at('minItems').unsupported(`must be at most ${most}`);
  return { min, max: max > most ? Number.POSITIVE_INFINITY : max };
}
