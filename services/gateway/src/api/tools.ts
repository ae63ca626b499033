import { z } from 'zod';
import { typed } from './content.ts';
import { optional, supportedValues, unsupportedParameter } from './fields.ts';

const definition = {
  name: z.string().regex(/^[\w-]{1,64}$/, 'must be 1 to 64 letters, digits, "_" or "-"'),
  description: optional(z.string()),
  /** JSON Schema of the arguments, for the model to read. */
  parameters: optional(z.record(z.string(), z.unknown())),
  /** Arguments then always fit `parameters`; else they do where a call is forced, and the schema is one that can be kept to. */
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

const modes = z.enum(['none', 'auto', 'required']);
const choices = ['function', 'allowed_tools'] as const;
const type = z.literal('function');
const name = z.string();
const allowedMode = z.enum(['auto', 'required']);

const responseChoice = z.strictObject({ type, name });
const responseAllowed = z.strictObject({
  type: z.literal('allowed_tools'),
  mode: allowedMode,
  tools: z.array(typed(kinds, responseChoice)).min(1),
});
/** What a response's object repeats. */
export const toolChoice = z.union([modes, responseChoice, responseAllowed]);
export type ToolChoice = z.output<typeof toolChoice>;

/** `tool_choice` of a response. */
export const responseToolChoice = optional(
  z.union([modes, typed(choices, z.discriminatedUnion('type', [responseChoice, responseAllowed]))]),
);

const chatChoice = z.strictObject({ type, function: z.strictObject({ name }) });
const chatAllowed = z.strictObject({
  type: z.literal('allowed_tools'),
  allowed_tools: z.strictObject({ mode: allowedMode, tools: z.array(typed(kinds, chatChoice)).min(1) }),
});

/** `tool_choice` of a chat completion; becomes what a response's is. */
export const chatToolChoice = optional(
  z.union([
    modes,
    typed(choices, z.discriminatedUnion('type', [chatChoice, chatAllowed])).transform(
      (choice): ToolChoice => {
        if (choice.type === 'function') return { type: 'function', name: choice.function.name };
        const { mode, tools } = choice.allowed_tools;
        const named = tools.map((tool) => ({ type: tool.type, name: tool.function.name }));
        return { type: 'allowed_tools', mode, tools: named };
      },
    ),
  ]),
);
