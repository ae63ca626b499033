import { outcomeOf } from '@baton/errors';
import { type GenerationJob, type LogState, parseMessage } from '@baton/protocol';
import { z } from 'zod';
import { itemSchema } from '../api/items.ts';
import { type TextFormat, textFormat } from '../api/output-format.ts';
import { toolChoice, toolDefinition } from '../api/tools.ts';
import type { TokenNames } from './logprobs.ts';
import { type OutputMessage, outputItems } from './output-items.ts';
import { toolCallRules } from './output-parser.ts';
import { usageOf } from './usage.ts';

const responseEcho = z.strictObject({
  background: z.boolean(),
  /** The conversation that its items are added to. */
  conversation: z.string().nullable(),
  /** False for a response that only warms up: it has no output. */
  generate: z.boolean(),
  store: z.boolean(),
  previous_response_id: z.string().nullable(),
  /** The items of this turn. */
  input: z.array(itemSchema),
  instructions: z.string().nullable(),
  max_output_tokens: z.int().nullable(),
  metadata: z.record(z.string(), z.string()),
  parallel_tool_calls: z.boolean(),
  prompt_cache_key: z.string().nullable(),
  safety_identifier: z.string().nullable(),
  text_format: textFormat.default({ type: 'text' }),
  tool_choice: toolChoice,
  /** How calls are told from text in the output; null where nothing may be called. */
  tool_calls: toolCallRules.nullable(),
  tools: z.array(toolDefinition),
  top_logprobs: z.int(),
  top_p: z.number(),
  user: z.string().nullable(),
});
/** What a response's job carries for rendering: the fields of the request that its objects repeat. */
export type ResponseEcho = z.infer<typeof responseEcho>;

export type ResponseStatus = 'queued' | 'in_progress' | 'completed' | 'incomplete' | 'failed' | 'cancelled';

export function readResponseEcho(job: GenerationJob): ResponseEcho {
  return parseMessage(responseEcho, job.echo, `job ${job.id}`);
}

export function responseStatus(state: LogState, echo: ResponseEcho): ResponseStatus {
  if (state.terminal === null) return state.epoch > 0 ? 'in_progress' : 'queued';
  if (state.terminal.kind === 'error') return 'failed';
  switch (state.terminal.reason) {
    case 'cancelled':
      return 'cancelled';
    case 'length':
      // A warm-up has no output that could be cut short.
      return echo.generate ? 'incomplete' : 'completed';
    case 'stop':
      return 'completed';
  }
}

export function itemStatus(status: ResponseStatus): OutputMessage['status'] {
  if (status === 'completed') return 'completed';
  return status === 'queued' || status === 'in_progress' ? 'in_progress' : 'incomplete';
}

/** The response object at this point of its log. */
export function responseObject(state: LogState, job: GenerationJob, names: TokenNames) {
  const echo = readResponseEcho(job);
  const status = responseStatus(state, echo);
  const { terminal } = state;
  const usage = usageOf(state);
  const hasOutput = echo.generate && (state.text !== '' || (terminal !== null && state.epoch > 0));
  return {
    id: job.id,
    object: 'response',
    created_at: Math.floor(job.created_at / 1000),
    status,
    background: echo.background,
    conversation: echo.conversation === null ? null : { id: echo.conversation },
    error: terminal?.kind === 'error' ? { code: errorCode(terminal.code), message: terminal.message } : null,
    incomplete_details: status === 'incomplete' ? { reason: 'max_output_tokens' } : null,
    instructions: echo.instructions,
    max_output_tokens: echo.max_output_tokens,
    max_tool_calls: null,
    metadata: echo.metadata,
    model: job.model,
    output: hasOutput ? outputItems(state, echo.tool_calls, itemStatus(status), names) : [],
    parallel_tool_calls: echo.parallel_tool_calls,
    previous_response_id: echo.previous_response_id,
    prompt_cache_key: echo.prompt_cache_key,
    reasoning: { effort: null, summary: null },
    safety_identifier: echo.safety_identifier,
    service_tier: 'default',
    store: echo.store,
    temperature: job.sampling.temperature,
    text: { format: formatObject(echo.text_format), verbosity: 'medium' },
    tool_choice: echo.tool_choice,
    tools: echo.tools.map(({ name, description, parameters, strict }) => ({
      type: 'function',
      name,
      description: description ?? null,
      parameters: parameters ?? null,
      strict: strict ?? null,
    })),
    top_logprobs: echo.top_logprobs,
    top_p: echo.top_p,
    truncation: 'disabled',
    usage: usage && {
      input_tokens: usage.prompt_tokens,
      input_tokens_details: { cached_tokens: usage.cached_tokens },
      output_tokens: usage.completion_tokens,
      output_tokens_details: { reasoning_tokens: 0 },
      total_tokens: usage.prompt_tokens + usage.completion_tokens,
    },
    user: echo.user,
  } as const;
}

/** The format as the API's objects repeat it, with its defaults. */
function formatObject(format: TextFormat) {
  if (format.type !== 'json_schema') return format;
  const { description = null, strict = null } = format;
  return { ...format, description, strict };
}

export type ResponseObject = ReturnType<typeof responseObject>;

/** Clients know one code for everything that went wrong on our side. */
function errorCode(code: Parameters<typeof outcomeOf>[0]): string {
  return outcomeOf(code).type === 'server_error' ? 'server_error' : code;
}
