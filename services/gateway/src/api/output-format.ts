import { checkStrict, SchemaPlace } from '@baton/grammar';
import type { JsonGrammar } from '@baton/protocol';
import { z } from 'zod';
import { typed } from './content.ts';
import { optional } from './fields.ts';

const kinds = ['text', 'json_object', 'json_schema'] as const;
const plain = [
  z.strictObject({ type: z.literal('text') }),
  z.strictObject({ type: z.literal('json_object') }),
] as const;

const jsonSchema = {
  name: z.string().regex(/^[\w-]{1,64}$/, 'must be 1 to 64 letters, digits, "_" or "-"'),
  description: optional(z.string()),
  schema: z.record(z.string(), z.unknown()),
  /** Every schema is kept to; a strict one has to be of the kind that OpenAI takes. */
  strict: optional(z.boolean()),
};

/** `text.format` of a response. */
export const textFormat = z.discriminatedUnion('type', [
  ...plain,
  z.strictObject({ type: z.literal('json_schema'), ...jsonSchema }),
]);
export type TextFormat = z.output<typeof textFormat>;

export const responseTextFormat = optional(typed(kinds, textFormat));

/** `response_format` of a chat or text completion; becomes what a response's `text.format` is. */
export const responseFormat = optional(
  typed(
    kinds,
    z.discriminatedUnion('type', [
      ...plain,
      z.strictObject({ type: z.literal('json_schema'), json_schema: z.strictObject(jsonSchema) }),
    ]),
  ).transform(
    (format): TextFormat =>
      format.type === 'json_schema' ? { type: 'json_schema', ...format.json_schema } : format,
  ),
);

/** The grammar that a format asks for. Throws `RequestError` for a strict schema that is not as OpenAI takes one. */
export function grammarOf(format: TextFormat | null | undefined, schemaParam: string): JsonGrammar | null {
  if (!format || format.type === 'text') return null;
  if (format.type === 'json_object') return { type: 'json_object' };
  if (format.strict) checkStrict(format.schema, new SchemaPlace(schemaParam));
  return { type: 'json_schema', schema: format.schema };
}
