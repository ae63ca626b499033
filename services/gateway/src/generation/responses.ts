import { RequestError } from '@baton/errors';
import type { GenerationJob, LogState } from '@baton/protocol';
import { attributes, requestSpan, withSpan } from '@baton/telemetry';
import { grammarOf } from '../api/output-format.ts';
import { resolveSampling } from '../api/resolve-sampling.ts';
import type { ResponseFields } from '../api/response-request.ts';
import { GenerationError, noteFailedStream } from '../errors.ts';
import type { Gateway, TenantGateway } from '../gateway.ts';
import { admit } from '../limits/admission.ts';
import { type ResponseEvent, responseEvents } from '../render/response-events.ts';
import type { ResponseEcho } from '../render/response-object.ts';
import { conversationTurn, nextTurn, renderTurn } from './conversation.ts';
import {
  type Conversation,
  changeConversation,
  readConversation,
  requireIdle,
} from './conversation-store.ts';
import { follow } from './follow.ts';
import { leave } from './leave.ts';
import type { Origin } from './origin.ts';
import { requireModel } from './prompt.ts';
import { resolveItems } from './resolve-items.ts';
import { enqueue, type Generation, nameReturn, subscribe } from './submit.ts';
import { toolUse } from './tool-use.ts';

/** How a response is asked for, beside its body. */
export interface ResponseOrigin extends Origin {
  /** False computes the prompt only. */
  readonly generate: boolean;
}

/**
 * Hands a new response over to the workers, or finds it again where its origin is known already, and follows it. Throws
 * `RequestError`, `NotFoundError` or `ConflictError` for what cannot be run, `OverloadedError` where it would wait too long.
 */
export async function startResponse(
  gateway: TenantGateway,
  body: ResponseFields,
  origin: ResponseOrigin,
): Promise<Generation> {
  const earlier = origin.repeated ? await gateway.log.read(origin.id) : null;
  if (earlier?.job) {
    nameReturn(earlier);
    return subscribe(gateway, earlier.job);
  }
  const job = await withSpan('validate', {}, () => responseJob(gateway, body, origin));
  const reservation = await admit(gateway, [job]);
  const generation = await subscribe(gateway, job);
  try {
    if (body.conversation) {
      requestSpan()?.setAttribute(attributes.conversationId, body.conversation);
      await announce(gateway, body.conversation, job.id);
    }
  } catch (error) {
    generation.feed.close();
    throw error;
  }
  await enqueue(gateway, [generation], reservation);
  return generation;
}

/** Locks a conversation for a response that is about to run. */
async function announce(gateway: TenantGateway, conversationId: string, responseId: string): Promise<void> {
  const announced = (conversation: Conversation): Conversation => {
    if (conversation.pending?.response === responseId) return conversation;
    requireIdle(conversation);
    return { ...conversation, pending: { response: responseId, since: Date.now() } };
  };
  await changeConversation(gateway, conversationId, announced, 'conversation');
}

async function responseJob(
  gateway: TenantGateway,
  body: ResponseFields,
  { id, created_at, seed, generate }: ResponseOrigin,
): Promise<GenerationJob> {
  const { model } = gateway;
  requireModel(body.model, model);
  const conversation = body.conversation
    ? await readConversation(gateway, body.conversation, 'conversation')
    : null;
  if (conversation && conversation.pending?.response !== id) requireIdle(conversation);
  const known = conversation?.items;
  const items = await resolveItems(gateway, body.input, 'input', known);
  const instructions = body.instructions || null;
  const { tools, rules, grammar } = await toolUse(
    {
      tools: body.tools,
      choice: body.tool_choice,
      parallel: body.parallel_tool_calls,
      format: grammarOf(body.text?.format, 'text.format.schema'),
    },
    { formatSchema: 'text.format.schema', parameters: (i) => `tools[${i}].parameters` },
    gateway,
  );
  const turn = { items, instructions, tools };
  const { prompt, ...beginning } = conversation
    ? await conversationTurn(gateway, conversation, turn)
    : body.previous_response_id
      ? await nextTurn(gateway, body.previous_response_id, turn)
      : await renderTurn(gateway, turn);
  const withLogprobs = body.include?.includes('message.output_text.logprobs') ?? false;
  const maxTokens = generate ? body.max_output_tokens : 0;
  const sampling = resolveSampling(
    body,
    {
      maxTokens: maxTokens == null ? null : { value: maxTokens, param: 'max_output_tokens' },
      defaultMaxTokens: model.contextLength,
      promptParam: 'input',
      logprobs: withLogprobs || body.top_logprobs ? (body.top_logprobs ?? 0) : null,
      promptLogprobs: null,
      defaultSeed: seed,
      grammar,
    },
    prompt,
    model,
  );
  const echo: ResponseEcho = {
    background: body.background ?? false,
    conversation: body.conversation ?? null,
    generate,
    store: body.store ?? true,
    previous_response_id: body.previous_response_id ?? null,
    input: items,
    instructions,
    max_output_tokens: body.max_output_tokens ?? null,
    metadata: body.metadata ?? {},
    parallel_tool_calls: body.parallel_tool_calls ?? true,
    prompt_cache_key: body.prompt_cache_key ?? null,
    safety_identifier: body.safety_identifier ?? null,
    text_format: body.text?.format ?? { type: 'text' },
    tool_choice: body.tool_choice ?? 'auto',
    tool_calls: rules,
    tools: body.tools ?? [],
    top_logprobs: body.top_logprobs ?? 0,
    top_p: body.top_p ?? sampling.top_p,
    user: body.user ?? null,
  };
  return {
    v: 1,
    id,
    tenant: gateway.tenant,
    endpoint: 'responses',
    model: model.name,
    created_at,
    // In the background nobody waits for it.
    ...(!body.background && { start_by: Date.now() + gateway.settings.queueTimeoutMs }),
    prompt,
    ...beginning,
    continuable: body.store ?? true,
    sampling,
    echo,
  };
}

/** A response's events as they come. */
export async function* followResponse(
  gateway: Gateway,
  generation: Generation,
  signal: AbortSignal,
): AsyncGenerator<ResponseEvent, void> {
  yield* allOf([], eventsOf(gateway, generation, signal));
}

/** The events of each entry of its log. */
async function* eventsOf(
  gateway: Gateway,
  generation: Generation,
  signal: AbortSignal,
): AsyncGenerator<ResponseEvent[], void> {
  const fold = responseEvents(generation.job.id, gateway.model.tokenizer);
  for await (const entry of follow(gateway, generation, signal)) {
    if (entry.kind === 'error') {
      noteFailedStream(new GenerationError(entry), [generation.job.id], gateway.logger);
    }
    yield fold(entry);
  }
}

/** A response that its client comes back to. */
export interface Resumed {
  readonly generation: Generation;
  readonly events: AsyncGenerator<ResponseEvent, void>;
  /** To be called in the end, also where `events` were never asked for. */
  readonly stop: () => Promise<void>;
}

/**
 * Follows a response that is there already, whose log says `state`, after the event `startingAfter` where the client has some.
 * Throws `RequestError` for an event that there is not yet: waiting for it would skip, in silence, all that comes before.
 */
export async function resumeResponse(
  gateway: Gateway,
  { state, job }: { readonly state: LogState; readonly job: GenerationJob },
  startingAfter: number | null,
  signal: AbortSignal,
): Promise<Resumed> {
  const generation = await subscribe(gateway, job);
  const entries = eventsOf(gateway, generation, signal);
  const stop = async () => void (await entries.return());
  try {
    const { feed } = generation;
    const isBehind = () =>
      feed.state.nextSequenceNumber < state.nextSequenceNumber || feed.state.epoch < state.epoch;
    let events: ResponseEvent[] = [];
    let last = -1;
    while (startingAfter !== null && last < startingAfter) {
      const next = isBehind() ? await entries.next() : null;
      if (!next || next.done) throw notYet(last);
      events = next.value;
      last = events.at(-1)?.sequence_number ?? last;
    }
    const missed = events.filter((event) => event.sequence_number > (startingAfter ?? -1));
    return { generation, events: allOf(missed, entries), stop };
  } catch (error) {
    await stop();
    // As where its client has left: it may come back with another cursor.
    leave(gateway, [generation], AbortSignal.abort());
    throw error;
  }
}

async function* allOf(
  first: readonly ResponseEvent[],
  rest: AsyncIterable<ResponseEvent[]>,
): AsyncGenerator<ResponseEvent, void> {
  yield* first;
  for await (const events of rest) yield* events;
}

function notYet(last: number): RequestError {
  return new RequestError(
    'invalid_value',
    `'starting_after' must be the sequence_number of an event that there is; the last one is ${last}`,
    'starting_after',
  );
}
