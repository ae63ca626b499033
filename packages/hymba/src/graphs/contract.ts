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
 * Where the model's `kvCache` is float16, the new rows are float16 numbers, and so all that caches hold.
 *
 * `webgpu-prefill.onnx` (T tokens of one sequence) and `webgpu-decode.onnx` (one token of each of B) write a state where
 * it lies: the caller gives the same memory as input and as output. They write new rows first and attend to the caches
 * alone, so a sliding cache has to have room for the window and the new tokens. They differ in this:
 *
 * | input | | |
 * | --- | --- | --- |
 * | `positions` | float32 [B, T] | `position_ids` once more |
 * | `cache_rows_global`, `cache_rows_sliding` | int32 [B, T] | where each new token's row goes in the caches of the kind; beyond the last one: nowhere |
 * | `held_global`, `held_sliding` | [B, P] | the position that each row holds, as a state; there is no bias |
 * | `active` | [B, 1, 1] | 1, or 0 for a sequence whose states are to stay as they are |
 * | `states` | int32 [B, 1] | for each sequence its own index, or where it is not active one that does not exist |
 * | `v_cache_c`, `k_cache_c` | [B, Hkv, P, Dv], [B, Hkv, Dk, P] | |
 * | `conv_l`, `ssm_l` | [B, (K-1)·D], [B, D, N, 1] | |
 *
 * | output | | |
 * | --- | --- | --- |
 * | `held_next_global`, `held_next_sliding`, `k_cache_next_c`, `v_cache_next_c` | as the inputs | instead of `k_new_c` and `v_new_c` |
 * | `conv_new_l`, `ssm_new_l` | as the inputs | |
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
  positions: 'positions',
  active: 'active',
  states: 'states',
  /** `states` spread over the convolutions' widths, within a graph. */
  stateRows: 'state_rows',
  cacheRows: (kind: KvCacheSpec['kind']) => `cache_rows_${kind}`,
  held: (kind: KvCacheSpec['kind']) => `held_${kind}`,
  nextHeld: (kind: KvCacheSpec['kind']) => `held_next_${kind}`,
  nextKeyCache: (cache: number) => `k_cache_next_${cache}`,
  nextValueCache: (cache: number) => `v_cache_next_${cache}`,
} as const;

export const graphFiles = {
  prefill: 'prefill.onnx',
  decode: 'decode.onnx',
  webgpuPrefill: 'webgpu-prefill.onnx',
  webgpuDecode: 'webgpu-decode.onnx',
} as const;
export type GraphName = keyof typeof graphFiles;
/** The graphs of an engine whose states lie in the GPU's memory. */
export type GpuMode = 'webgpuPrefill' | 'webgpuDecode';
/** The graphs of an engine whose states lie in JavaScript's memory. */
export type GraphMode = Exclude<GraphName, GpuMode>;

/** Hides a key: far below any score, yet finite, so that no sum of it overflows (and exact in float32). */
export const maskedBias = -(2 ** 100);
