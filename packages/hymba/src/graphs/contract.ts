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
 * | `k_cache_c`, `v_cache_c` | [B, Hkv, P, Dk], [B, Hkv, Dv, P] | one pair for each of the configuration's `caches`; keys are rotated, and values lie as the products read them fastest |
 * | `conv_l`, `ssm_l` | [B, K-1, D], [B, N, D] | one pair for each layer |
 *
 * | output | | |
 * | --- | --- | --- |
 * | `logits` | [R, V] | |
 * | `k_new_c`, `v_new_c` | [B, Hkv, T, Dk], [B, Hkv, T, Dv] | the new tokens' rows only: the caller owns the caches and copies them in |
 * | `conv_new_l`, `ssm_new_l` | as the inputs | the state after the last new token |
 *
 * `webgpu.onnx` is a prefill graph of any number of tokens whose states never leave the GPU. It differs in this:
 *
 * | input | | |
 * | --- | --- | --- |
 * | `cache_rows_global`, `cache_rows_sliding` | int64 [1, Hkv, T, 3] | (0, head, row): where each new token's row goes in the caches of the kind |
 * | `v_cache_c` | [1, Hkv, P, Dv] | |
 * | `ssm_l` | [1, D, N, 1] | |
 *
 * | output | | |
 * | --- | --- | --- |
 * | `k_cache_next_c`, `v_cache_next_c` | as the inputs | the caches with the new rows, instead of `k_new_c` and `v_new_c` |
 * | `ssm_new_l` | as the input | |
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
  cacheRows: (kind: KvCacheSpec['kind']) => `cache_rows_${kind}`,
  nextKeyCache: (cache: number) => `k_cache_next_${cache}`,
  nextValueCache: (cache: number) => `v_cache_next_${cache}`,
} as const;

export const graphFiles = {
  prefill: 'prefill.onnx',
  decode: 'decode.onnx',
  webgpu: 'webgpu.onnx',
} as const;
export type GraphName = keyof typeof graphFiles;
/** The graphs of an engine whose states lie in JavaScript's memory. */
export type GraphMode = Exclude<GraphName, 'webgpu'>;

/** Hides a key: far below any score, yet finite, so that no sum of it overflows (and exact in float32). */
export const maskedBias = -(2 ** 100);
