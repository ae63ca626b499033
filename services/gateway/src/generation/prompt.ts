import { NotFoundError, RequestError } from '@baton/errors';
import type { ChatMessage } from '@baton/hymba/tokenizer';
import type { ToolDefinition } from '../api/tools.ts';
import type { TenantGateway } from '../gateway.ts';
import type { ServedModel } from '../served-model.ts';

export function requireModel(name: string, model: ServedModel): void {
  if (name === model.name) return;
  throw new NotFoundError(
    'model_not_found',
    `the model '${name}' is not served here; '${model.name}' is`,
    'model',
  );
}

/** A conversation as the model's chat template writes it, with the functions on offer and the assistant's turn opened. */
export async function chatPrompt(
  gateway: TenantGateway,
  messages: readonly ChatMessage[],
  tools: readonly ToolDefinition[],
  param: string,
): Promise<number[]> {
  const text = gateway.model.tokenizer.renderChat(messages, { tools: templateTools(tools) });
  return templateTokens(gateway, text, param);
}

/**
 * The tokens of what a chat template wrote, which writes its special tokens itself; `before` are in front of them. Throws
 * `RequestError` at `param` for a text that cannot fit.
 */
export async function templateTokens(
  { tenant, model, tokenisation }: TenantGateway,
  text: string,
  param: string,
  before = 0,
): Promise<number[]> {
  requireRoom(text, param, model, before);
  const [tokens = []] = await tokenisation.encode(tenant, [text], { addSpecialTokens: false });
  return tokens;
}

/** Throws `RequestError` for a text that is longer than any that fits: without counting its tokens, which takes long. */
function requireRoom(
  text: string,
  param: string,
  { tokenizer, contextLength }: ServedModel,
  before = 0,
): void {
  const fewest = before + tokenizer.fewestTokens(text);
  if (fewest <= contextLength) return;
  throw new RequestError(
    'context_length_exceeded',
    `this model's context holds ${contextLength} tokens, but the request needs at least ${fewest}, all of them in the prompt`,
    param,
  );
}

/** Functions as chat templates expect them. */
export function templateTools(tools: readonly ToolDefinition[]): unknown[] {
  return tools.map(({ name, description, parameters }) => ({
    type: 'function',
    function: {
      name,
      description: description ?? '',
      parameters: parameters ?? { type: 'object', properties: {} },
    },
  }));
}

/** A prompt as text, or as token ids that are run exactly as given, and where in the request it is. */
export interface PlainPrompt {
  readonly prompt: string | readonly number[];
  readonly param: string;
}

/** The tokens of each of one request's prompts. Throws `RequestError` at the one that holds none, or cannot fit. */
export async function plainPrompts(
  { tenant, model, tokenisation }: TenantGateway,
  prompts: readonly PlainPrompt[],
): Promise<number[][]> {
  for (const { prompt, param } of prompts) {
    if (typeof prompt === 'string') requireRoom(prompt, param, model);
  }
  const texts = prompts.flatMap(({ prompt }) => (typeof prompt === 'string' ? [prompt] : []));
  const encoded = (await tokenisation.encode(tenant, texts, { addSpecialTokens: true })).values();
  return prompts.map(({ prompt, param }) => {
    if (typeof prompt !== 'string') return knownTokens(prompt, param, model);
    const tokens = encoded.next().value ?? [];
    if (tokens.length > 0) return tokens;
    throw new RequestError('invalid_value', `'${param}' holds no token`, param);
  });
}

function knownTokens(prompt: readonly number[], param: string, { vocabularySize }: ServedModel): number[] {
  const unknown = prompt.findIndex((token) => token >= vocabularySize);
  if (unknown < 0) return [...prompt];
  throw new RequestError(
    'invalid_value',
    `'${param}[${unknown}]': token ids end at ${vocabularySize - 1}`,
    `${param}[${unknown}]`,
  );
}
