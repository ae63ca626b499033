import { outcomeOf } from '@baton/errors';
import { type GenerationJob, type LogState, parseMessage } from '@baton/protocol';
import { z } from 'zod';
import { type RenderedLogprob, renderLogprob, type TokenNames } from './logprobs.ts';
import { usageOf } from './usage.ts';

const responseEcho = z.strictObject({
  background: z.boolean(),
  /** False for a response that only warms up: it has no output. */
  generate: z.boolean(),
  store: z.boolean(),
  previous_response_id: z.string().nullable(),
  /** The messages of this turn, as the chat template gets them. */
  input: z.array(z.strictObject({ role: z.string(), content: z.string() })),
  instructions: z.string().nullable(),
  max_output_tokens: z.int().nullable(),
  metadata: z.record(z.string(), z.string()),
  parallel_tool_calls: z.boolean(),
  prompt_cache_key: z.string().nullable(),
  safety_identifier: z.string().nullable(),
  tool_choice: z.enum(['auto', 'none']),
  top_logprobs: z.int(),
  top_p: z.number(),
  user: z.string().nullable(),
});
/** What a response's job carries for rendering: the fields of the request that its objects repeat. */
export type ResponseEcho = z.infer<typeof responseEcho>;

export type ResponseStatus = 'queued' | 'in_progress' | 'completed' | 'incomplete' | 'failed' | 'cancelled';

export interface OutputText {
  readonly type: 'output_text';
  readonly text: string;
  readonly annotations: [];
  readonly logprobs: RenderedLogprob[];
}

export interface OutputMessage {
  readonly id: string;
  readonly type: 'message';
  readonly role: 'assistant';
  readonly status: 'in_progress' | 'completed' | 'incomplete';
  readonly content: OutputText[];
}

export function readResponseEcho(job: GenerationJob): ResponseEcho {
  return parseMessage(responseEcho, job.echo, `job ${job.id}`);
}

/** A response has one output item, and its id names the response. */
export function outputItemId(responseId: string): string {
  return responseId.replace(/^resp_/, 'msg_');
}

/** The response whose output item this is. */
export function responseIdOfItem(itemId: string): string {
  return itemId.replace(/^msg_/, 'resp_');
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

/** The response's text so far, with every token's log-probability where the request asked for them. */
export function outputText(state: LogState, names: TokenNames): OutputText {
  return {
    type: 'output_text',
    text: state.text,
    annotations: [],
    logprobs: state.tokenLogprobs.map((entry) => renderLogprob(entry, names)),
  };
}

export function outputMessage(state: LogState, status: ResponseStatus, names: TokenNames): OutputMessage {
  return {
    id: outputItemId(state.generationId),
    type: 'message',
    role: 'assistant',
    status: itemStatus(status),
    content: [outputText(state, names)],
  };
}

function itemStatus(status: ResponseStatus): OutputMessage['status'] {
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
    conversation: null,
    error: terminal?.kind === 'error' ? { code: errorCode(terminal.code), message: terminal.message } : null,
    incomplete_details: status === 'incomplete' ? { reason: 'max_output_tokens' } : null,
    instructions: echo.instructions,
    max_output_tokens: echo.max_output_tokens,
    max_tool_calls: null,
    metadata: echo.metadata,
    model: job.model,
    output: hasOutput ? [outputMessage(state, status, names)] : [],
    parallel_tool_calls: echo.parallel_tool_calls,
    previous_response_id: echo.previous_response_id,
    prompt_cache_key: echo.prompt_cache_key,
    reasoning: { effort: null, summary: null },
    safety_identifier: echo.safety_identifier,
    service_tier: 'default',
    store: echo.store,
    temperature: job.sampling.temperature,
    text: { format: { type: 'text' }, verbosity: 'medium' },
    tool_choice: echo.tool_choice,
    tools: [],
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

export type ResponseObject = ReturnType<typeof responseObject>;

/** Clients know one code for everything that went wrong on our side. */
function errorCode(code: Parameters<typeof outcomeOf>[0]): string {
  return outcomeOf(code).type === 'server_error' ? 'server_error' : code;
}
