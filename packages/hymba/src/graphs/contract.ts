import type { KvCacheSpec } from '../config.ts';

/**
 * The interface of `prefill.onnx` and `decode.onnx`, which share `weights.bin`.
 *
 * Sizes: B sequences (prefill: 1, so that no padding ever enters the Mamba state), T new tokens for each (decode: 1),
 * R logit rows, Pg and Ps rows in every global and every sliding cache, V vocabulary, M meta tokens, Hkv key/value heads,
 * Dk and Dv widths of a key and a value head, D channels, N state size, K convolution kernel. All floats are float32.
 *
 * | input | | |
 * | --- | --- | --- |
 * | `input_ids` | int64 [B, T] | ids V … V+M-1 are the meta tokens |
 * | `position_ids` | int64 [B, T] | meta tokens are at 0 … M-1, the prompt begins at M |
 * | `logit_rows` | int64 [R] | rows of the flattened [B × T] whose logits are wanted |
 * | `bias_global`, `bias_sliding` | [B, 1, T, P + T] | 0 where a query sees a key and `maskedBias` elsewhere: first the cache's rows, in whatever order they lie, then the new tokens; an input is absent where no cache is of its kind |
 * | `k_cache_c`, `v_cache_c` | [B, Hkv, P, Dk], [B, Hkv, P, Dv] | one pair for each of the configuration's `caches`; keys are rotated |
 * | `conv_l`, `ssm_l` | [B, K-1, D], [B, N, D] | one pair for each layer |
 *
 * | output | | |
 * | --- | --- | --- |
 * | `logits` | [R, V] | |
 * | `k_new_c`, `v_new_c` | [B, Hkv, T, Dk], [B, Hkv, T, Dv] | the new tokens' rows only: the caller owns the caches and copies them in |
 * | `conv_new_l`, `ssm_new_l` | as the inputs | the state after the last new token |
 */
export const graphNames = {
  inputIds: 'input_ids',
  positionIds: 'position_ids',
  logitRows: 'logit_rows',
  logits: 'logits',
  bias: (kind: KvCacheSpec['kind']) => `bias_${kind}`,
  keyCache: (cache: number) => `k_cache_${cache}`,
  valueCache: (cache: number) => `v_cache_${cache}`,
  newKeys: (cache: number) => `k_new_${cache}`,
  newValues: (cache: number) => `v_new_${cache}`,
  conv: (layer: number) => `conv_${layer}`,
  newConv: (layer: number) => `conv_new_${layer}`,
  ssm: (layer: number) => `ssm_${layer}`,
  newSsm: (layer: number) => `ssm_new_${layer}`,
} as const;

export type GraphMode = 'prefill' | 'decode';
export const graphFiles = { prefill: 'prefill.onnx', decode: 'decode.onnx' } as const satisfies Record<
  GraphMode,
  string
>;

/** Hides a key: far below any score, yet finite, so that no sum of it overflows (and exact in float32). */
export const maskedBias = -(2 ** 100);
