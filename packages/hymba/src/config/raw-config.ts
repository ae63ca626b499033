import { z } from 'zod';

const size = z.int('it must be a whole number').positive('it must be above 0');
const layerIndex = z.int('it must be a layer index').nonnegative('it must be a layer index');

/** The fields of a released `config.json` that Baton reads; others are ignored. Defaults are those of the released code. */
export const rawConfig = z.object(
  {
    model_type: z.string('it must be "hymba"').default('hymba'),
    hidden_size: size,
    intermediate_size: size,
    num_hidden_layers: size,
    num_attention_heads: size,
    num_key_value_heads: size,
    vocab_size: size,
    mamba_d_state: size,
    mamba_d_conv: z.int('it must be a whole number').min(2, 'it must be 2 or more'),
    mamba_expand: z.number('it must be a number').positive('it must be above 0'),
    mamba_dt_rank: z.union([size, z.literal('auto')], 'it must be a whole number above 0, or "auto"'),
    mamba_conv_bias: z.boolean('it must be true or false').default(true),
    mamba_proj_bias: z.boolean('it must be true or false').default(false),
    mamba_inner_layernorms: z.boolean('it must be true or false').default(true),
    num_memory_tokens: z.int('it must be a whole number').nonnegative('it must be 0 or more'),
    sliding_window: size.nullable().default(null),
    global_attn_idx: z.array(layerIndex, 'it must be a list of layer indices').nullable().default(null),
    kv_reuse_group: z
      .array(z.array(layerIndex).min(1, 'a group needs a layer'), 'it must be a list of groups of layers')
      .nullable()
      .default(null),
    rope: z.boolean('it must be true or false').default(true),
    rope_type: z.string('it must be "ntk" or "default"').default('default'),
    rope_theta: z.number('it must be a number').positive('it must be above 0'),
    max_position_embeddings: size,
    orig_max_position_embeddings: size.nullable().default(null),
    rms_norm_eps: z.number('it must be a number').positive('it must be above 0'),
    hidden_act: z.string('it must be "silu"').default('silu'),
    mlp_hidden_act: z.string('it must be "silu" or "relu2"').default('silu'),
    tie_word_embeddings: z.boolean('it must be true or false'),
    kq_norm: z.string('it must be "none"').nullable().default('none'),
    num_experts: z.int('it must be 1').default(1),
    num_mamba: z.int('it must be 1').default(1),
    attn_hidden_size: z.int('it must be -1').default(-1),
    kq_head_dim: z.int('it must be -1').default(-1),
    v_head_dim: z.int('it must be a whole number').default(-1),
    memory_tokens_interspersed_every: z.int('it must be 0').default(0),
    kv_reuse_every_i_layer: z.int('it must be -1').default(-1),
    kv_weight_reuse: z.boolean('it must be false').default(false),
    layer_type: z.array(z.string(), 'it must be a list of layer types').nullable().default(null),
  },
  'it must be an object',
);

export type RawConfig = z.infer<typeof rawConfig>;
