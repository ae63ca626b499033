import { RequestError } from '@baton/errors';
import { type GenerationJob, newId } from '@baton/protocol';
import type { InputItem, Item } from '../api/items.ts';
import { resolveSampling } from '../api/resolve-sampling.ts';
import type { ResponseFields } from '../api/response-request.ts';
import type { Gateway, TenantGateway } from '../gateway.ts';
import { type ResponseEvent, responseEvents } from '../render/response-events.ts';
import type { ResponseEcho } from '../render/response-object.ts';
import { nextTurn, renderTurn } from './conversation.ts';
import { follow } from './follow.ts';
import { toolCallRulesOf } from './messages.ts';
import { requireModel } from './prompt.ts';
import { findItem } from './stored-responses.ts';
import type { Generation } from './submit.ts';

/**
 * The job of a new response. `generate: false` computes the prompt only. Throws `RequestError` or `NotFoundError` for
 * what cannot be run.
 */
export async function responseJob(
  gateway: TenantGateway,
  body: ResponseFields,
  { generate }: { readonly generate: boolean },
): Promise<GenerationJob> {
  const { model } = gateway;
  requireModel(body.model, model);
  const items = await Promise.all(body.input.map((item, i) => resolveItem(gateway, item, `input[${i}].id`)));
  const instructions = body.instructions || null;
  const tools = body.tools ?? [];
  const rules = toolCallRulesOf(model, tools);
  const called = body.tool_choice === 'none' ? null : rules;
  const turn = { items, instructions, tools: called ? tools : [] };
  const { prompt, parent } = body.previous_response_id
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
    },
    prompt,
    model,
  );
  const echo: ResponseEcho = {
    background: body.background ?? false,
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
    tool_choice: body.tool_choice === 'none' ? 'none' : 'auto',
    tool_calls: called,
    tools,
    top_logprobs: body.top_logprobs ?? 0,
    top_p: body.top_p ?? sampling.top_p,
    user: body.user ?? null,
  };
  return {
    v: 1,
    id: newId('resp'),
    tenant: gateway.tenant,
    endpoint: 'responses',
    model: model.name,
    created_at: Date.now(),
    prompt,
    parent,
    continuable: body.store ?? true,
    sampling,
    echo,
  };
}

async function resolveItem(gateway: TenantGateway, item: InputItem, param: string): Promise<Item> {
  if (item.type !== 'item_reference') return item;
  const found = await findItem(gateway, item.id);
  if (found) return found;
  throw new RequestError('invalid_value', `'${param}': there is no finished item ${item.id}`, param);
}

/** A response's events as they come, after `startingAfter` where the client has some already. */
export async function* followResponse(
  gateway: Gateway,
  generation: Generation,
  { startingAfter, signal }: { readonly startingAfter: number | null; readonly signal: AbortSignal },
): AsyncGenerator<ResponseEvent, void> {
  const fold = responseEvents(generation.job.id, gateway.model.tokenizer);
  for await (const entry of follow(gateway, generation, signal)) {
    for (const event of fold(entry)) {
      if (startingAfter === null || event.sequence_number > startingAfter) yield event;
    }
  }
}
