import { z } from 'zod';
import { itemList } from './content.ts';
import {
  includable,
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
import { responseTextFormat } from './output-format.ts';
import { refuse } from './parse-request.ts';
import { responseToolChoice, responseTools } from './tools.ts';

const fields = {
  model: modelField,
  input: z.union([
    z.string().transform((text): InputItem[] => [{ type: 'message', role: 'user', content: text }]),
    itemList(inputItem),
  ]),
  instructions: optional(z.string()),
  ...samplingFields,
  ...inertFields,
  ...streamFields,
  background: optional(z.boolean()),
  /** Its items come before the input, and those of this response are added to it. */
  conversation: optional(z.union([z.string(), z.strictObject({ id: z.string() }).transform(({ id }) => id)])),
  include: includable,
  max_output_tokens: optional(z.int().min(1)),
  store: optional(z.boolean()),
  tools: responseTools,
  tool_choice: responseToolChoice,
  top_logprobs: topLogprobs,

  access_programs: unsupportedParameter(),
  context_management: unsupportedParameter([]),
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
  text: optional(z.strictObject({ format: responseTextFormat, verbosity: supportedValues('medium') })),
  truncation: supportedValues('disabled'),
};

function checkTogether(ctx: z.core.ParsePayload<z.output<z.ZodObject<typeof fields>>>): void {
  const { background, conversation, previous_response_id, store } = ctx.value;
  if (store === false && background) {
    refuse(ctx, 'invalid_value', 'needs store to be true, or nobody could read it', ['background']);
  }
  if (store === false && conversation) {
    refuse(ctx, 'invalid_value', 'needs store to be true, or nothing could be added to it', ['conversation']);
  }
  if (conversation && previous_response_id) {
    refuse(ctx, 'invalid_value', 'cannot be had together with previous_response_id', ['conversation']);
  }
}

/** Body of POST /v1/responses. */
export const responseRequest = z.strictObject(fields).check(checkTogether);

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
  .check(checkTogether as (ctx: z.core.ParsePayload) => void)
  .transform(({ type, stream_id, generate, stream, stream_options, background, ...body }) => ({
    body: body satisfies ResponseFields,
    generate: generate ?? true,
  }));
