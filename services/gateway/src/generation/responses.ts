import { RequestError } from '@baton/errors';
import { type GenerationJob, newId } from '@baton/protocol';
import { resolveSampling } from '../api/resolve-sampling.ts';
import type { InputItem, ResponseFields } from '../api/response-request.ts';
import type { Gateway } from '../gateway.ts';
import { type ResponseEvent, responseEvents } from '../render/response-events.ts';
import { type ResponseEcho, responseIdOfItem } from '../render/response-object.ts';
import type { ServedModel } from '../served-model.ts';
import { defaultTenant } from '../tenant.ts';
import { nextTurn, type Turn, type TurnMessage } from './conversation.ts';
import { follow } from './follow.ts';
import { chatPrompt, requireModel } from './prompt.ts';
import { findResponse } from './stored-responses.ts';
import type { Generation } from './submit.ts';

/**
 * The job of a new response. `generate: false` computes the prompt only. Throws `RequestError` or `NotFoundError` for
 * what cannot be run.
 */
export async function responseJob(
  gateway: Gateway,
  body: ResponseFields,
  { generate }: { readonly generate: boolean },
): Promise<GenerationJob> {
  const { model } = gateway;
  requireModel(body.model, model);
  const messages: TurnMessage[] = await Promise.all(
    body.input.map((item, i) => messageOf(gateway, item, `input[${i}]`)),
  );
  const instructions = body.instructions || null;
  const { prompt, parent } = body.previous_response_id
    ? await nextTurn(gateway, body.previous_response_id, messages, instructions)
    : firstTurn(model, messages, instructions);
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
    input: messages,
    instructions,
    max_output_tokens: body.max_output_tokens ?? null,
    metadata: body.metadata ?? {},
    parallel_tool_calls: body.parallel_tool_calls ?? true,
    prompt_cache_key: body.prompt_cache_key ?? null,
    safety_identifier: body.safety_identifier ?? null,
    tool_choice: body.tool_choice === 'none' ? 'none' : 'auto',
    top_logprobs: body.top_logprobs ?? 0,
    top_p: body.top_p ?? sampling.top_p,
    user: body.user ?? null,
  };
  return {
    v: 1,
    id: newId('resp'),
    tenant: defaultTenant,
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

function firstTurn(model: ServedModel, messages: readonly TurnMessage[], instructions: string | null): Turn {
  const system = instructions === null ? [] : [{ role: 'system', content: instructions }];
  return { prompt: chatPrompt([...system, ...messages], model), parent: null };
}

async function messageOf(gateway: Gateway, item: InputItem, param: string): Promise<TurnMessage> {
  if (item.type === 'message') return { role: item.role, content: item.content };
  const state = await findResponse(gateway, responseIdOfItem(item.id));
  if (state?.terminal) return { role: 'assistant', content: state.text };
  throw new RequestError(
    'invalid_value',
    `'${param}.id': there is no finished item ${item.id}`,
    `${param}.id`,
  );
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
