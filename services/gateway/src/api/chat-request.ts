import { z } from 'zod';
import { clientsOwn, headFirst, itemList, textContent } from './content.ts';
import {
  inertFields,
  modelField,
  optional,
  samplingFields,
  streamFields,
  supportedValues,
  topLogprobs,
  unsupportedParameter,
} from './fields.ts';
import { responseFormat } from './output-format.ts';
import { refuse } from './parse-request.ts';
import { chatToolChoice, chatTools } from './tools.ts';

const toolCall = z
  .strictObject({
    id: z.string().min(1),
    type: z.literal('function'),
    function: z.strictObject({
      name: z.string().min(1),
      arguments: z.string(),
      parsed_arguments: clientsOwn,
    }),
    /** Of streamed calls, which some clients send back as they came. */
    index: optional(z.int()),
  })
  .transform(({ id, function: { name, arguments: args } }) => ({ call_id: id, name, arguments: args }));

const common = { content: textContent('text'), name: optional(z.string()) };
/** What only a model's own messages hold. */
const answers = {
  refusal: unsupportedParameter(),
  annotations: unsupportedParameter([]),
  audio: unsupportedParameter(),
  function_call: unsupportedParameter(),
};
const calls = { tool_calls: optional(z.array(toolCall)) };

const spoken = z.strictObject({
  role: z.enum(['developer', 'system', 'user']),
  ...common,
  ...answers,
  tool_calls: unsupportedParameter([]),
});
const answer = z
  .strictObject({
    role: z.literal('assistant'),
    ...common,
    content: textContent('text').nullish(),
    ...answers,
    ...calls,
    parsed: clientsOwn,
  })
  .check((ctx) => {
    if (ctx.value.content == null && !ctx.value.tool_calls?.length)
      refuse(ctx, 'missing_required_parameter', 'is required', ['content']);
  });
const result = z.strictObject({ role: z.literal('tool'), ...common, tool_call_id: z.string().min(1) });

const roles = ['developer', 'system', 'user', 'assistant', 'tool', 'function'];
const message = headFirst(
  z.looseObject({
    role: z.enum(roles).check((ctx) => {
      if (ctx.value === 'function')
        refuse(ctx, 'unsupported_value', 'function is not supported; tool is its newer name');
    }),
  }),
  z.discriminatedUnion('role', [spoken, answer, result]),
);

export type ChatRequestMessage = z.output<typeof message>;

/** Body of POST /v1/chat/completions. */
export const chatRequest = z
  .strictObject({
    model: modelField,
    messages: itemList(message),
    ...samplingFields,
    ...inertFields,
    ...streamFields,
    n: optional(z.int().min(1).max(128)),
    max_completion_tokens: optional(z.int().min(1)),
    max_tokens: optional(z.int().min(1)),
    logprobs: optional(z.boolean()),
    top_logprobs: topLogprobs,
    tools: chatTools,
    tool_choice: chatToolChoice,

    audio: unsupportedParameter(),
    function_call: supportedValues('auto', 'none'),
    functions: unsupportedParameter([]),
    modalities: supportedValues(['text']),
    prediction: unsupportedParameter(),
    reasoning_effort: supportedValues('none'),
    response_format: responseFormat,
    store: supportedValues(false),
    verbosity: supportedValues('medium'),
    web_search_options: unsupportedParameter(),
  })
  .check((ctx) => {
    const { logprobs, top_logprobs, stream, stream_options } = ctx.value;
    if (top_logprobs && !logprobs)
      refuse(ctx, 'invalid_value', 'needs logprobs to be true', ['top_logprobs']);
    if (stream_options && !stream)
      refuse(ctx, 'invalid_value', 'needs stream to be true', ['stream_options']);
  });

export type ChatRequest = z.output<typeof chatRequest>;
