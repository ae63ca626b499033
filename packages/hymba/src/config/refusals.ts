import { CheckpointError } from '@baton/errors';
import type { RawConfig } from './raw-config.ts';

interface HeadSizes {
  readonly keySize: number;
  readonly valueSize: number;
}

/** Each thing a configuration may ask for that Baton does not compute, and what it does instead. */
const rules: readonly [
  keyof RawConfig,
  (raw: RawConfig, sizes: HeadSizes) => boolean,
  (sizes: HeadSizes) => string,
][] = [
  ['model_type', (raw) => raw.model_type !== 'hymba', () => '"hymba"'],
  ['num_experts', (raw) => raw.num_experts > 1, () => '1'],
  ['kq_norm', (raw) => raw.kq_norm !== 'none' && raw.kq_norm !== null, () => '"none"'],
  ['memory_tokens_interspersed_every', (raw) => raw.memory_tokens_interspersed_every > 0, () => '0'],
  ['attn_hidden_size', (raw) => raw.attn_hidden_size > 0, () => '-1'],
  ['rope', (raw) => !raw.rope, () => 'true'],
  ['rope_type', (raw) => raw.rope_type !== 'ntk' && raw.rope_type !== 'default', () => '"ntk" and "default"'],
  ['kv_reuse_every_i_layer', (raw) => raw.kv_reuse_every_i_layer > 0, () => '-1, with kv_reuse_group'],
  ['kv_weight_reuse', (raw) => raw.kv_weight_reuse, () => 'false'],
  ['mamba_proj_bias', (raw) => raw.mamba_proj_bias, () => 'false'],
  ['mamba_conv_bias', (raw) => !raw.mamba_conv_bias, () => 'true'],
  ['mamba_inner_layernorms', (raw) => !raw.mamba_inner_layernorms, () => 'true'],
  ['num_mamba', (raw) => raw.num_mamba !== 1, () => '1'],
  ['hidden_act', (raw) => raw.hidden_act !== 'silu', () => '"silu"'],
  [
    'mlp_hidden_act',
    (raw) => raw.mlp_hidden_act !== 'silu' && raw.mlp_hidden_act !== 'relu2',
    () => '"silu" and "relu2"',
  ],
  [
    'kq_head_dim',
    (raw, { keySize }) => raw.kq_head_dim > 0 && raw.kq_head_dim !== keySize,
    ({ keySize }) => `hidden_size / num_attention_heads = ${keySize}`,
  ],
  [
    'v_head_dim',
    (raw, { valueSize }) => raw.v_head_dim > 0 && raw.v_head_dim !== valueSize,
    ({ valueSize }) => `mamba_expand × hidden_size / num_attention_heads = ${valueSize}`,
  ],
  ['layer_type', (raw) => raw.layer_type?.some((type) => type !== 'h') ?? false, () => '"h" in every layer'],
];

/** Throws `CheckpointError` with code `unsupported_checkpoint`, naming the field: better than a model loaded wrongly. */
export function refuseUnsupported(raw: RawConfig, sizes: HeadSizes, file: string): void {
  for (const [field, asksForIt, supported] of rules) {
    if (!asksForIt(raw, sizes)) continue;
    throw new CheckpointError(
      'unsupported_checkpoint',
      `${file}: "${field}" is ${JSON.stringify(raw[field])}; Baton runs ${supported(sizes)}`,
      { file, field },
    );
  }
}
