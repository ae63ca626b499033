import { z } from 'zod';
import { typed } from './content.ts';
import { optional, supportedValues, unsupportedParameter } from './fields.ts';

const definition = {
  name: z.string().regex(/^[\w-]{1,64}$/, 'must be 1 to 64 letters, digits, "_" or "-"'),
  description: optional(z.string()),
  /** JSON Schema of the arguments, for the model to read. */
  parameters: optional(z.record(z.string(), z.unknown())),
  /** Accepted: arguments are what the model wrote, as JSON, whether strict or not. */
  strict: optional(z.boolean()),
};

/** A function that the model may call. */
export const toolDefinition = z.strictObject(definition);
export type ToolDefinition = z.output<typeof toolDefinition>;

const kinds = ['function'] as const;
/** `tools` of a chat completion. */
export const chatTools = optional(
  z
    .array(typed(kinds, z.strictObject({ type: z.literal(kinds), function: toolDefinition })))
    .max(128)
    .transform((tools) => tools.map((tool) => tool.function)),
);

/** `tools` of a response. */
export const responseTools = optional(
  z
    .array(
      typed(
        kinds,
        z.strictObject({
          type: z.literal(kinds),
          ...definition,
          allowed_callers: supportedValues(['direct']),
          async: supportedValues(false),
          defer_loading: supportedValues(false),
          output_schema: unsupportedParameter(),
        }),
      ),
    )
    .max(128)
    .transform((tools) =>
      tools.map(
        ({ name, description, parameters, strict }): ToolDefinition => ({
          name,
          description,
          parameters,
          strict,
        }),
      ),
    ),
);

/** Whether the model may call: nothing makes it do so, or call this one and not that. */
export const toolChoice = supportedValues('auto', 'none');
