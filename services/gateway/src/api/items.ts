import { z } from 'zod';
import { clientsOwn, headFirst, templateRole, textContent, typed } from './content.ts';
import { optional, supportedValues, unsupportedParameter } from './fields.ts';

const status = optional(z.enum(['in_progress', 'completed', 'incomplete']));
const id = optional(z.string().max(256));

const message = z
  .strictObject({
    // Has been filled in where it was left out, which the OpenAPI document tells by this.
    type: z.literal('message').default('message'),
    role: z.enum(['developer', 'system', 'user', 'assistant']),
    content: textContent('input_text', 'output_text'),
    id,
    status,
    phase: optional(z.enum(['commentary', 'final_answer'])),
  })
  .transform(({ type, role, content }) => ({ type, role: templateRole(role), content }));

const functionCall = z
  .strictObject({
    type: z.literal('function_call'),
    call_id: z.string().min(1),
    name: z.string().min(1),
    arguments: z.string(),
    id,
    status,
    async: supportedValues(false),
    caller: supportedValues({ type: 'direct' }),
    namespace: unsupportedParameter(),
    parsed_arguments: clientsOwn,
  })
  .transform(({ type, call_id, name, arguments: args }) => ({ type, call_id, name, arguments: args }));

const functionCallOutput = z
  .strictObject({
    type: z.literal('function_call_output'),
    call_id: z.string().min(1),
    output: textContent('input_text'),
    id,
    status,
    name: optional(z.string()),
    caller: supportedValues({ type: 'direct' }),
    namespace: unsupportedParameter(),
  })
  .transform(({ type, call_id, output }) => ({ type, call_id, output }));

const itemReference = z.strictObject({
  type: z.literal('item_reference').default('item_reference'),
  id: z.string().max(256),
});

/** An input item as a client sends it. `type` may be left out of messages and of references. */
export const inputItem = headFirst(
  z.looseObject({}).transform((item) => ({
    ...item,
    type: item['type'] ?? ('role' in item || !('id' in item) ? 'message' : 'item_reference'),
  })),
  typed(
    ['message', 'function_call', 'function_call_output', 'item_reference'],
    z.discriminatedUnion('type', [message, functionCall, functionCallOutput, itemReference]),
  ),
);

export type InputItem = z.output<typeof inputItem>;

/** What stays of an input item, references resolved: what a turn is made of. */
export const itemSchema = z.discriminatedUnion('type', [
  z.strictObject({ type: z.literal('message'), role: z.string(), content: z.string() }),
  z.strictObject({
    type: z.literal('function_call'),
    call_id: z.string(),
    name: z.string(),
    /** JSON, as the model wrote it. */
    arguments: z.string(),
  }),
  z.strictObject({ type: z.literal('function_call_output'), call_id: z.string(), output: z.string() }),
]);
export type Item = z.infer<typeof itemSchema>;
