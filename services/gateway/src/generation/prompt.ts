import { NotFoundError, RequestError } from '@baton/errors';
import type { ChatMessage } from '@baton/hymba/tokenizer';
import type { ToolDefinition } from '../api/tools.ts';
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
export function chatPrompt(
  messages: readonly ChatMessage[],
  tools: readonly ToolDefinition[],
  { tokenizer }: ServedModel,
): number[] {
  // The template writes its special tokens itself.
  return tokenizer.encode(tokenizer.renderChat(messages, { tools: templateTools(tools) }), {
    addSpecialTokens: false,
  });
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

/** A prompt as text, or as token ids that are run exactly as given. */
export function plainPrompt(prompt: string | readonly number[], param: string, model: ServedModel): number[] {
  if (typeof prompt !== 'string') {
    const unknown = prompt.findIndex((token) => token >= model.vocabularySize);
    if (unknown < 0) return [...prompt];
    throw new RequestError(
      'invalid_value',
      `'${param}[${unknown}]': token ids end at ${model.vocabularySize - 1}`,
      `${param}[${unknown}]`,
    );
  }
  const tokens = model.tokenizer.encode(prompt);
  if (tokens.length > 0) return tokens;
  throw new RequestError('invalid_value', `'${param}' holds no token`, param);
}
