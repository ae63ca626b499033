import { NotFoundError, RequestError } from '@baton/errors';
import type { ChatMessage } from '@baton/hymba/tokenizer';
import type { ServedModel } from '../served-model.ts';

export function requireModel(name: string, model: ServedModel): void {
  if (name === model.name) return;
  throw new NotFoundError(
    'model_not_found',
    `the model '${name}' is not served here; '${model.name}' is`,
    'model',
  );
}

/** A conversation as the model's chat template writes it, with the assistant's turn opened. */
export function chatPrompt(messages: readonly ChatMessage[], model: ServedModel): number[] {
  // The template writes its special tokens itself.
  return model.tokenizer.encode(model.tokenizer.renderChat(messages), { addSpecialTokens: false });
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
