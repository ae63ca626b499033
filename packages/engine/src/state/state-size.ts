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

/** Bytes that a slot takes where the longest of them holds `tokens` tokens, the meta tokens not counted. */
export function slotBytes(config: HymbaConfig, tokens: number): number {
  const { caches, kvHeads, keySize, valueSize, layers, innerSize, stateSize, convKernel, metaTokens } =
    config;
  const recurrent = layers * innerSize * (stateSize + convKernel - 1);
  const capacityOf = (kind: KvCacheSpec['kind']) => {
    const limit = rowLimit(config, kind);
    return bucketOf(Math.max(1, Math.min(metaTokens + tokens, limit)), limit);
  };
  const rows = caches.reduce((sum, { kind }) => sum + capacityOf(kind), 0);
  const kinds = [...new Set(caches.map(({ kind }) => kind))];
  const masks = kinds.reduce((sum, kind) => sum + capacityOf(kind) + 1, 0);
  return Float32Array.BYTES_PER_ELEMENT * (recurrent + rows * kvHeads * (keySize + valueSize) + masks);
}
