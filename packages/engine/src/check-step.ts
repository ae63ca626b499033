import { RequestError } from '@baton/errors';
import type { HymbaConfig } from '@baton/hymba';

/**
 * Throws `RequestError` unless a model can feed `ids` to a sequence of `length` positions, meta tokens included: ids of the
 * vocabulary, and no more of them than the context has room for.
 */
export function checkStep(config: HymbaConfig, length: number, ids: readonly number[]): void {
  const { vocabularySize, contextLength, metaTokens } = config;
  if (ids.length === 0) throw new RequestError('invalid_value', 'a step needs at least one token');
  const unknown = ids.find((id) => !Number.isInteger(id) || id < 0 || id >= vocabularySize);
  if (unknown !== undefined) {
    throw new RequestError('invalid_value', `token id ${unknown} is not in 0 … ${vocabularySize - 1}`);
  }
  const tokens = length - metaTokens + ids.length;
  if (tokens > contextLength) {
    throw new RequestError(
      'context_length_exceeded',
      `${tokens} tokens do not fit the context of ${contextLength}`,
    );
  }
}
