import type { WeightForm } from './weights/forms.ts';

/**
 * What new keys and values are rounded to before anything attends to them. Caches hold float32 either way, which is what
 * attention on a CPU computes with; rounded ones take half the bytes in an exact snapshot.
 */
export const kvCacheForms = ['float32', 'float16'] as const;
export type KvCacheForm = (typeof kvCacheForms)[number];

/** Quantised weights change a model more than float16 keys and values do. */
export function defaultKvCache(weights: WeightForm): KvCacheForm {
  return weights === 'fp32' ? 'float32' : 'float16';
}
