import { z } from 'zod';
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
import { type InputItem, inputItem } from './items.ts';
import { refuse } from './parse-request.ts';
import { responseTools, toolChoice } from './tools.ts';

/** What can be asked to be included; only log-probabilities exist without built-in tools, images and reasoning. */
const includable = z.enum([
  'code_interpreter_call.outputs',
  'computer_call_output.output.image_url',
  'file_search_call.results',
  'message.input_image.image_url',
  'message.output_text.logprobs',
  'reasoning.encrypted_content',
  'web_search_call.action.sources',
  'web_search_call.results',
]);

const fields = {
  model: modelField,
  input: z.union([
    z.string().transform((text): InputItem[] => [{ type: 'message', role: 'user', content: text }]),
    z.array(inputItem).min(1),
  ]),
  instructions: optional(z.string()),
  ...samplingFields,
  ...inertFields,
  ...streamFields,
  background: optional(z.boolean()),
  include: optional(z.array(includable)),
  max_output_tokens: optional(z.int().min(1)),
  store: optional(z.boolean()),
  tools: responseTools,
  tool_choice: toolChoice,
  top_logprobs: topLogprobs,

  access_programs: unsupportedParameter(),
  context_management: unsupportedParameter([]),
  conversation: unsupportedParameter(),
  image: unsupportedParameter(),
  max_tool_calls: unsupportedParameter(),
  previous_response_id: optional(z.string()),
  prompt: unsupportedParameter(),
  reasoning: optional(
    z.strictObject({
      effort: supportedValues('none'),
      summary: unsupportedParameter(),
      generate_summary: unsupportedParameter(),
    }),
  ),
  text: optional(
    z.strictObject({ format: supportedValues({ type: 'text' }), verbosity: supportedValues('medium') }),
  ),
  truncation: supportedValues('disabled'),
};

/** Body of POST /v1/responses. */
export const responseRequest = z.strictObject(fields).check((ctx) => {
  if (ctx.value.background && ctx.value.store === false) {
    refuse(ctx, 'invalid_value', 'needs store to be true, or nobody could read it', ['background']);
  }
});

export type ResponseRequest = z.output<typeof responseRequest>;

/** What decides a response, however it is asked for and delivered. */
export type ResponseFields = Omit<ResponseRequest, 'stream' | 'stream_options'>;

/** `response.create` on a WebSocket: the body of POST /v1/responses and what only a socket has. */
export const responseCreateFrame = z
  .strictObject({
    ...fields,
    type: z.literal('response.create'),
    /** The lane, which the socket has read already. */
    stream_id: optional(z.string().max(256)),
    /** False warms up only: the prompt is computed and nothing is generated. */
    generate: optional(z.boolean()),
    /** A socket always streams. */
    stream: optional(z.unknown()),
    background: unsupportedParameter(false),
  })
  .transform(({ type, stream_id, generate, stream, stream_options, background, ...body }) => ({
    body: body satisfies ResponseFields,
    generate: generate ?? true,
  }));
