import { type HymbaConfig, maskedBias } from '@baton/hymba';
import type { KvCache } from './kv-cache.ts';

/**
 * The additive mask [tokens, capacity + tokens] of `tokens` new positions after `length` cached ones: first the rows of
 * `cache` as they lie, then the new tokens themselves. A query sees no later key, and in a sliding layer only the last
 * `slidingWindow` before its own and the meta tokens.
 */
export function attentionBias(
  config: HymbaConfig,
  cache: KvCache,
  { length, tokens }: { readonly length: number; readonly tokens: number },
): Float32Array<ArrayBuffer> {
  const { metaTokens, slidingWindow } = config;
  const reach = cache.kind === 'sliding' && slidingWindow !== null ? slidingWindow : Number.POSITIVE_INFINITY;
  const span = cache.capacity + tokens;
  const bias = new Float32Array(tokens * span).fill(maskedBias);

  for (let i = 0; i < tokens; i++) {
    const query = length + i;
    const row = i * span;
    for (let key = 0; key < Math.min(metaTokens, length); key++) bias[row + cache.rowOf(key)] = 0;
    for (let key = Math.max(cache.firstHeld(length), query - reach); key < length; key++) {
      bias[row + cache.rowOf(key)] = 0;
    }
    for (let key = length; key <= query; key++) {
      if (key < metaTokens || query - key <= reach) bias[row + cache.capacity + key - length] = 0;
    }
  }
  return bias;
}
