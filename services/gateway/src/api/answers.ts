import { workerStatusSchema } from '@baton/protocol';
import { z } from 'zod';
import { textFormat } from './output-format.ts';
import { toolChoice, toolDefinition } from './tools.ts';

/** Seconds since the Unix epoch. */
const time = z.int();
export const count = z.int().min(0);
const listOf = <S extends z.ZodType>(entry: S) =>
  z.strictObject({ object: z.literal('list'), data: z.array(entry) });
const deleted = <S extends string>(object: S) =>
  z.strictObject({ id: z.string(), object: z.literal(object), deleted: z.literal(true) });

const namedLogprob = z.strictObject({
  token: z.string(),
  bytes: z.array(z.int().min(0).max(255)),
  logprob: z.number().nullable(),
});
export const logprob = namedLogprob.extend({ top_logprobs: z.array(namedLogprob) });

const model = z.strictObject({
  id: z.string(),
  object: z.literal('model'),
  created: time,
  owned_by: z.string(),
});

export const completionUsage = z.strictObject({
  prompt_tokens: count,
  completion_tokens: count,
  total_tokens: count,
  prompt_tokens_details: z.strictObject({ cached_tokens: count }),
  completion_tokens_details: z.strictObject({ reasoning_tokens: z.literal(0) }),
});
export const head = { id: z.string(), created: time, model: z.string() };

export const chatCompletion = z.strictObject({
  ...head,
  object: z.literal('chat.completion'),
  choices: z.array(
    z.strictObject({
      index: count,
      message: z.strictObject({
        role: z.literal('assistant'),
        content: z.string().nullable(),
        refusal: z.null(),
        annotations: z.array(z.never()),
        tool_calls: z
          .array(
            z.strictObject({
              id: z.string(),
              type: z.literal('function'),
              function: z.strictObject({ name: z.string(), arguments: z.string() }),
            }),
          )
          .optional(),
      }),
      logprobs: z.strictObject({ content: z.array(logprob), refusal: z.null() }).nullable(),
      finish_reason: z.enum(['stop', 'length', 'tool_calls']),
    }),
  ),
  usage: completionUsage,
});

export const completion = z.strictObject({
  ...head,
  object: z.literal('text_completion'),
  choices: z.array(
    z.strictObject({
      index: count,
      text: z.string(),
      logprobs: z
        .strictObject({
          tokens: z.array(z.string()),
          token_logprobs: z.array(z.number().nullable()),
          top_logprobs: z.array(z.record(z.string(), z.number()).nullable()),
          text_offset: z.array(count),
        })
        .nullable(),
      finish_reason: z.enum(['stop', 'length']),
    }),
  ),
  usage: completionUsage,
});

export const outputText = z.strictObject({
  type: z.literal('output_text'),
  text: z.string(),
  annotations: z.array(z.never()),
  logprobs: z.array(logprob),
});
const itemStatus = z.enum(['in_progress', 'completed', 'incomplete']);
export const functionCall = z.strictObject({
  id: z.string(),
  type: z.literal('function_call'),
  call_id: z.string(),
  name: z.string(),
  arguments: z.string(),
  status: itemStatus,
});
export const outputMessage = z.strictObject({
  id: z.string(),
  type: z.literal('message'),
  role: z.literal('assistant'),
  status: itemStatus,
  content: z.array(outputText),
});
export const outputItem = z.discriminatedUnion('type', [outputMessage, functionCall]);

const item = z.discriminatedUnion('type', [
  outputMessage.extend({
    role: z.string(),
    content: z.array(
      z.discriminatedUnion('type', [
        outputText,
        z.strictObject({ type: z.literal('input_text'), text: z.string() }),
      ]),
    ),
  }),
  functionCall,
  z.strictObject({
    id: z.string(),
    type: z.literal('function_call_output'),
    call_id: z.string(),
    output: z.string(),
    status: itemStatus,
  }),
]);

export const response = z.strictObject({
  id: z.string(),
  object: z.literal('response'),
  created_at: time,
  status: z.enum(['queued', 'in_progress', 'completed', 'incomplete', 'failed', 'cancelled']),
  background: z.boolean(),
  conversation: z.strictObject({ id: z.string() }).nullable(),
  error: z.strictObject({ code: z.string(), message: z.string() }).nullable(),
  incomplete_details: z.strictObject({ reason: z.literal('max_output_tokens') }).nullable(),
  instructions: z.string().nullable(),
  max_output_tokens: z.int().nullable(),
  max_tool_calls: z.null(),
  metadata: z.record(z.string(), z.string()),
  model: z.string(),
  output: z.array(outputItem),
  parallel_tool_calls: z.boolean(),
  previous_response_id: z.string().nullable(),
  prompt_cache_key: z.string().nullable(),
  reasoning: z.strictObject({ effort: z.null(), summary: z.null() }),
  safety_identifier: z.string().nullable(),
  service_tier: z.literal('default'),
  store: z.boolean(),
  temperature: z.number(),
  text: z.strictObject({ format: textFormat, verbosity: z.literal('medium') }),
  tool_choice: toolChoice,
  tools: z.array(toolDefinition.extend({ type: z.literal('function') })),
  top_logprobs: count,
  top_p: z.number(),
  truncation: z.literal('disabled'),
  usage: z
    .strictObject({
      input_tokens: count,
      input_tokens_details: z.strictObject({ cached_tokens: count }),
      output_tokens: count,
      output_tokens_details: z.strictObject({ reasoning_tokens: z.literal(0) }),
      total_tokens: count,
    })
    .nullable(),
  user: z.string().nullable(),
});

const { v: _, worker: id, generations, ...status } = workerStatusSchema.shape;
const worker = z.strictObject({
  id,
  ...status,
  silent_ms: count,
  generations: z.array(generations.element.omit({ stored: true }).extend({ snapshot_lag: z.int() }).strict()),
});
const commanded = { id: z.string(), detail: z.string() };

/** What is answered where nothing is wrong, by its name in the OpenAPI document. A test holds answers against these. */
export const answers = {
  Model: model,
  ModelList: listOf(model),
  ChatCompletion: chatCompletion,
  Completion: completion,
  Response: response,
  ResponseDeleted: deleted('response'),
  Item: item,
  ItemList: listOf(item).extend({
    first_id: z.string().nullable(),
    last_id: z.string().nullable(),
    has_more: z.boolean(),
  }),
  Conversation: z.strictObject({
    id: z.string(),
    object: z.literal('conversation'),
    created_at: time,
    metadata: z.record(z.string(), z.string()),
  }),
  ConversationDeleted: deleted('conversation.deleted'),
  WorkerList: listOf(worker),
  Drain: z.strictObject({ ...commanded, status: z.literal('draining') }),
  Migration: z.strictObject({ ...commanded, status: z.literal('migrating'), from: z.string() }),
  Health: z.strictObject({ status: z.literal('ok') }),
  Readiness: z.strictObject({
    status: z.enum(['ready', 'unavailable']),
    missing: z.array(z.enum(['redis', 'nats'])),
    model: z.string(),
  }),
  OpenApi: z.looseObject({ openapi: z.string() }),
} as const satisfies Record<string, z.ZodType>;

export type AnswerName = keyof typeof answers;
