import { type HymbaConfig, type KvCacheSpec, maskedBias } from '@baton/hymba';

/** Where positions lie in the caches of a kind. */
export interface CacheLayout {
  readonly kind: KvCacheSpec['kind'];
  /** Rows of a cache, filled or not. */
  readonly capacity: number;
  /** The first position, from the prompt's on, that is still held of the positions below `length`. */
  firstHeld(length: number): number;
  rowOf(position: number): number;
}

/**
 * The additive mask [tokens, capacity + tokens] of `tokens` new positions after `length` cached ones: first the rows of
 * a cache as they lie, then the new tokens themselves. A query sees no later key, and in a sliding layer only the last
 * `slidingWindow` before its own and the meta tokens.
 */
export function attentionBias(
  { metaTokens, slidingWindow }: HymbaConfig,
  layout: CacheLayout,
  { length, tokens }: { readonly length: number; readonly tokens: number },
): Float32Array<ArrayBuffer> {
  const reach =
    layout.kind === 'sliding' && slidingWindow !== null ? slidingWindow : Number.POSITIVE_INFINITY;
  const span = layout.capacity + tokens;
  const bias = new Float32Array(tokens * span).fill(maskedBias);

  for (let i = 0; i < tokens; i++) {
    const query = length + i;
    const row = i * span;
    for (let key = 0; key < Math.min(metaTokens, length); key++) bias[row + layout.rowOf(key)] = 0;
    for (let key = Math.max(layout.firstHeld(length), query - reach); key < length; key++) {
      bias[row + layout.rowOf(key)] = 0;
    }
    for (let key = length; key <= query; key++) {
      if (key < metaTokens || query - key <= reach) bias[row + layout.capacity + key - length] = 0;
    }
  }
  return bias;
}
