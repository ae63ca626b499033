import type { GenerationJob } from '@baton/protocol';
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
import type { Origin } from './origin.ts';
import { requireModel } from './prompt.ts';
import { resolveItem } from './resolve-item.ts';
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
  const items = await Promise.all(
    body.input.map((item, i) => resolveItem(gateway, item, `input[${i}].id`, known)),
  );
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
      : renderTurn(model, turn);
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

/** A response's events as they come, after `startingAfter` where the client has some already. */
export async function* followResponse(
  gateway: Gateway,
  generation: Generation,
  { startingAfter, signal }: { readonly startingAfter: number | null; readonly signal: AbortSignal },
): AsyncGenerator<ResponseEvent, void> {
  const fold = responseEvents(generation.job.id, gateway.model.tokenizer);
  for await (const entry of follow(gateway, generation, signal)) {
    if (entry.kind === 'error') {
      noteFailedStream(new GenerationError(entry), [generation.job.id], gateway.logger);
    }
    for (const event of fold(entry)) {
      if (startingAfter === null || event.sequence_number > startingAfter) yield event;
    }
  }
}
