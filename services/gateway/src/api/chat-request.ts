import { z } from 'zod';
import { templateRole, textContent } from './content.ts';
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
import { refuse } from './parse-request.ts';

const role = z.enum(['developer', 'system', 'user', 'assistant', 'tool', 'function']).check((ctx) => {
  if (ctx.value === 'tool' || ctx.value === 'function') {
    refuse(
      ctx,
      'unsupported_value',
      'tools are not supported; supported: developer, system, user, assistant',
    );
  }
});

const message = z
  .strictObject({
    role,
    content: textContent('text'),
    name: optional(z.string()),
    // What a client sends back with the assistant's own messages.
    refusal: unsupportedParameter(),
    annotations: unsupportedParameter([]),
    audio: unsupportedParameter(),
    function_call: unsupportedParameter(),
    tool_calls: unsupportedParameter([]),
  })
  .transform(({ role, content, name }) => ({ role: templateRole(role), content, ...(name && { name }) }));

/** Body of POST /v1/chat/completions. */
export const chatRequest = z
  .strictObject({
    model: modelField,
    messages: z.array(message).min(1),
    ...samplingFields,
    ...inertFields,
    ...streamFields,
    n: optional(z.int().min(1).max(128)),
    max_completion_tokens: optional(z.int().min(1)),
    max_tokens: optional(z.int().min(1)),
    logprobs: optional(z.boolean()),
    top_logprobs: topLogprobs,

    audio: unsupportedParameter(),
    function_call: supportedValues('auto', 'none'),
    functions: unsupportedParameter([]),
    modalities: supportedValues(['text']),
    prediction: unsupportedParameter(),
    reasoning_effort: supportedValues('none'),
    response_format: supportedValues({ type: 'text' }),
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
