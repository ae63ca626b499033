import type { HymbaConfig, KvCacheSpec } from '@baton/hymba';

/** The most rows that a cache of this kind can come to need for one sequence. */
export function rowLimit(config: HymbaConfig, kind: KvCacheSpec['kind']): number {
  const { metaTokens, slidingWindow, contextLength } = config;
  return metaTokens + (kind === 'sliding' && slidingWindow !== null ? slidingWindow : contextLength);
}

/**
 * Rows to have room for where `rows` are needed: few to spare, since a step reads them all, and yet so many that a
 * growing sequence moves its caches seldom.
 */
export function bucketOf(rows: number, limit: number): number {
  const step = Math.max(128, 2 ** Math.floor(Math.log2(rows)) / 8);
  return Math.min(limit, Math.ceil(rows / step) * step);
}

/**
 * Bytes that a slot takes where the longest of them holds `tokens` tokens, the meta tokens not counted; `capacityOf` says
 * how many rows a cache has where `rows` are needed.
 */
export function slotBytes(
  config: HymbaConfig,
  tokens: number,
  capacityOf: (rows: number, limit: number) => number = bucketOf,
): number {
  const { caches, kvHeads, keySize, valueSize, layers, innerSize, stateSize, convKernel, metaTokens } =
    config;
  const recurrent = layers * innerSize * (stateSize + convKernel - 1);
  const rows = caches.reduce((sum, { kind }) => {
    const limit = rowLimit(config, kind);
    return sum + capacityOf(Math.min(metaTokens + tokens, limit), limit);
  }, 0);
  return Float32Array.BYTES_PER_ELEMENT * (recurrent + rows * kvHeads * (keySize + valueSize));
}
