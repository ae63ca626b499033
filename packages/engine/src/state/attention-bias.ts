import { type HymbaConfig, maskedBias } from '@baton/hymba';
import type { CacheRows } from './cache-rows.ts';

/**
 * The additive mask [tokens, capacity + tokens] of `tokens` new positions after `length` cached ones: first the rows of
 * a cache as they lie, then the new tokens themselves. A query sees no later key, and in a sliding layer only the last
 * `slidingWindow` before its own and the meta tokens.
 */
export function attentionBias(
  { metaTokens, slidingWindow }: HymbaConfig,
  cacheRows: CacheRows,
  { length, tokens }: { readonly length: number; readonly tokens: number },
): Float32Array<ArrayBuffer> {
  const reach =
    cacheRows.kind === 'sliding' && slidingWindow !== null ? slidingWindow : Number.POSITIVE_INFINITY;
  const span = cacheRows.capacity + tokens;
  const bias = new Float32Array(tokens * span).fill(maskedBias);

  for (let i = 0; i < tokens; i++) {
    const query = length + i;
    const row = i * span;
    for (let key = 0; key < Math.min(metaTokens, length); key++) bias[row + cacheRows.rowOf(key)] = 0;
    for (let key = Math.max(cacheRows.firstHeld(length), query - reach); key < length; key++) {
      bias[row + cacheRows.rowOf(key)] = 0;
    }
    for (let key = length; key <= query; key++) {
      if (key < metaTokens || query - key <= reach) bias[row + cacheRows.capacity + key - length] = 0;
    }
  }
  return bias;
}
