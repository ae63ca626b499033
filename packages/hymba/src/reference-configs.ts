import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { embeddedModel } from './embedded-model.ts';

type RawConfig = Readonly<Record<string, unknown>>;

/** The fields of nvidia/Hymba-1.5B-Base's `config.json` that decide its sizes. */
const hymba15b: RawConfig = {
  model_type: 'hymba',
  vocab_size: 32001,
  hidden_size: 1600,
  intermediate_size: 5504,
  num_hidden_layers: 32,
  num_attention_heads: 25,
  num_key_value_heads: 5,
  mamba_d_state: 16,
  mamba_d_conv: 4,
  mamba_expand: 2,
  mamba_dt_rank: 100,
  num_memory_tokens: 128,
  sliding_window: 1024,
  global_attn_idx: [0, 15, 31],
  kv_reuse_group: [
    ...[1, 3, 5, 7, 9, 11, 13].map((layer) => [layer, layer + 1]),
    [16, 17, 18],
    ...[19, 21, 23, 25, 27, 29].map((layer) => [layer, layer + 1]),
  ],
  rope_type: 'ntk',
  rope_theta: 10000,
  max_position_embeddings: 8192,
  orig_max_position_embeddings: 2048,
  rms_norm_eps: 1e-6,
  tie_word_embeddings: true,
  bos_token_id: 1,
  eos_token_id: 2,
};

/** Models whose sizes a random checkpoint can take. */
export const referenceNames = ['hymba-1.5b', 'hymba-stories-22m'] as const;
export type ReferenceName = (typeof referenceNames)[number];

/**
 * The contents of a `config.json` with the sizes of a known model, cut to its first `layers` layers where given; attention
 * kinds and shared caches stay as they are in the layers that remain. Throws `RangeError` for more layers than it has.
 */
export async function referenceConfig(name: ReferenceName, layers?: number): Promise<RawConfig> {
  const config: RawConfig =
    name === 'hymba-1.5b' ? hymba15b : JSON.parse(await readFile(join(embeddedModel, 'config.json'), 'utf8'));
  return layers === undefined ? config : cutTo(config, layers, name);
}

function cutTo(config: RawConfig, layers: number, name: ReferenceName): RawConfig {
  const all = config['num_hidden_layers'] as number;
  if (!Number.isInteger(layers) || layers < 1 || layers > all) {
    throw new RangeError(`${name} has ${all} layers; asked for ${layers}`);
  }
  const left = (indices: readonly number[]) => indices.filter((layer) => layer < layers);
  const groups = config['kv_reuse_group'] as readonly (readonly number[])[];
  return {
    ...config,
    num_hidden_layers: layers,
    global_attn_idx: left(config['global_attn_idx'] as readonly number[]),
    kv_reuse_group: groups.map(left).filter((group) => group.length > 1),
  };
}
