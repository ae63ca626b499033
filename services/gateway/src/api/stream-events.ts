import { z } from 'zod';
import {
  chatCompletion,
  completion,
  completionUsage,
  count,
  head,
  logprob,
  outputItem,
  outputText,
  response,
} from './answers.ts';

/** Null before the last chunk, and missing unless the client asked for it. */
const usage = completionUsage.nullable().optional();

const [chatChoice, textChoice] = [chatCompletion, completion].map(({ shape }) => shape.choices.element) as [
  typeof chatCompletion.shape.choices.element,
  typeof completion.shape.choices.element,
];

const chatCompletionChunk = z.strictObject({
  ...head,
  object: z.literal('chat.completion.chunk'),
  choices: z.array(
    z.strictObject({
      index: count,
      delta: z.strictObject({
        role: z.literal('assistant').optional(),
        content: z.string().optional(),
        tool_calls: z
          .array(
            z.strictObject({
              index: count,
              id: z.string(),
              type: z.literal('function'),
              function: z.strictObject({ name: z.string(), arguments: z.string() }),
            }),
          )
          .optional(),
      }),
      logprobs: chatChoice.shape.logprobs,
      finish_reason: chatChoice.shape.finish_reason.nullable(),
    }),
  ),
  usage,
});

const completionChunk = completion.extend({
  choices: z.array(textChoice.extend({ finish_reason: textChoice.shape.finish_reason.nullable() })),
  usage,
});

const event = <T extends string, F extends z.ZodRawShape>(type: T, fields: F) =>
  z.strictObject({ type: z.literal(type), sequence_number: count, ...fields });
const whole = { response };
const item = { output_index: count, item: outputItem };
const place = { item_id: z.string(), output_index: count };
const inMessage = { ...place, content_index: count };

const responseEvent = z.discriminatedUnion('type', [
  event('response.created', whole),
  event('response.queued', whole),
  event('response.in_progress', whole),
  event('response.output_item.added', item),
  event('response.content_part.added', { ...inMessage, part: outputText }),
  event('response.output_text.delta', { ...inMessage, delta: z.string(), logprobs: z.array(logprob) }),
  event('response.output_text.done', { ...inMessage, text: z.string(), logprobs: z.array(logprob) }),
  event('response.content_part.done', { ...inMessage, part: outputText }),
  event('response.function_call_arguments.delta', { ...place, delta: z.string() }),
  event('response.function_call_arguments.done', { ...place, name: z.string(), arguments: z.string() }),
  event('response.output_item.done', item),
  event('response.completed', whole),
  event('response.incomplete', whole),
  event('response.failed', whole),
]);

/** What one event of a stream carries as JSON, by its name in the OpenAPI document. A test holds streams against these. */
export const streamEvents = {
  ChatCompletionChunk: chatCompletionChunk,
  CompletionChunk: completionChunk,
  ResponseEvent: responseEvent,
} as const satisfies Record<string, z.ZodType>;

export type StreamEventName = keyof typeof streamEvents;
