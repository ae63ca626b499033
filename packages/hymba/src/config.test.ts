import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { CheckpointError } from '@baton/errors';
import { goldenCheckpoint } from '@baton/testing';
import { beforeAll, describe, expect, it } from 'vitest';
import { parseConfig, readConfig } from './config.ts';

let released: Record<string, unknown>;

beforeAll(async () => {
  released = JSON.parse(await readFile(join(goldenCheckpoint('shared-pairs'), 'config.json'), 'utf8'));
});

const parse = (changes: Record<string, unknown> = {}) =>
  parseConfig(JSON.stringify({ ...released, ...changes }), 'config.json');

function refusal(changes: Record<string, unknown>): CheckpointError {
  try {
    parse(changes);
  } catch (error) {
    if (error instanceof CheckpointError) return error;
    throw error;
  }
  throw new Error('the configuration was accepted');
}

describe('a released configuration', () => {
  it('gives all sizes that the model has', () => {
    expect(parse()).toEqual({
      vocabularySize: 264,
      hiddenSize: 80,
      intermediateSize: 208,
      layers: 7,
      heads: 5,
      kvHeads: 1,
      keySize: 16,
      valueSize: 32,
      innerSize: 160,
      stateSize: 16,
      convKernel: 4,
      dtRank: 5,
      metaTokens: 8,
      slidingWindow: 16,
      caches: [
        { kind: 'global', layers: [0] },
        { kind: 'sliding', layers: [1, 2] },
        { kind: 'global', layers: [3] },
        { kind: 'sliding', layers: [4, 5] },
        { kind: 'global', layers: [6] },
      ],
      ropeBase: 10000 * 7 ** (16 / 14),
      contextLength: 256,
      normEpsilon: 1e-6,
      activation: 'silu',
      tiedHead: true,
    });
  });

  it('may leave dt_rank to the hidden size', () => {
    expect(parse({ mamba_dt_rank: 'auto' }).dtRank).toBe(5);
    expect(parse({ mamba_dt_rank: 'auto', hidden_size: 90, v_head_dim: -1 }).dtRank).toBe(6);
  });

  it('has only global layers where there is no window', () => {
    const { caches, slidingWindow } = parse({ sliding_window: null, kv_reuse_group: null });
    expect(slidingWindow).toBeNull();
    expect(caches.map(({ kind }) => kind)).toEqual(Array(7).fill('global'));
  });

  it('keeps the plain base with rope_type "default"', () => {
    expect(parse({ rope_type: 'default', orig_max_position_embeddings: null }).ropeBase).toBe(10000);
  });

  it('ignores fields that decide nothing', () => {
    expect(parse({ torch_dtype: 'float64', use_cache: 7, something_new: {} })).toEqual(parse());
  });
});

describe('a configuration that Baton does not run is refused by name', () => {
  it.each([
    ['model_type', 'llama'],
    ['num_experts', 8],
    ['kq_norm', 'rms'],
    ['memory_tokens_interspersed_every', 256],
    ['attn_hidden_size', 512],
    ['rope', false],
    ['rope_type', 'dynamic_ntk'],
    ['kv_reuse_every_i_layer', 2],
    ['kv_weight_reuse', true],
    ['mamba_proj_bias', true],
    ['mamba_conv_bias', false],
    ['mamba_inner_layernorms', false],
    ['num_mamba', 2],
    ['hidden_act', 'gelu'],
    ['mlp_hidden_act', 'gelu'],
    ['kq_head_dim', 64],
    ['v_head_dim', 64],
    ['layer_type', ['h', 'a', 'm']],
  ])('%s: %j', (field, value) => {
    const error = refusal({ [field]: value });
    expect(error).toMatchObject({ code: 'unsupported_checkpoint', file: 'config.json', field });
    expect(error.message).toContain(JSON.stringify(value));
  });

  it('a KV group of global and sliding layers', () => {
    const error = refusal({
      kv_reuse_group: [
        [1, 2],
        [3, 4],
      ],
    });
    expect(error).toMatchObject({ code: 'unsupported_checkpoint', field: 'kv_reuse_group.1' });
  });
});

describe('a malformed configuration names field, value and what is right', () => {
  it.each([
    ['hidden_size', 0],
    ['hidden_size', '80'],
    ['hidden_size', 85],
    ['hidden_size', 83],
    ['num_key_value_heads', 2],
    ['mamba_expand', 0.33],
    ['mamba_d_conv', 1],
    ['mamba_dt_rank', 'big'],
    ['num_memory_tokens', -1],
    ['sliding_window', 0],
    ['global_attn_idx', [0, 7]],
    ['kv_reuse_group.0', [[2, 1]]],
    ['kv_reuse_group.0', [[5, 9]]],
    [
      'kv_reuse_group.1',
      [
        [1, 2],
        [2, 4],
      ],
    ],
    ['rms_norm_eps', null],
    ['tie_word_embeddings', undefined],
    ['orig_max_position_embeddings', null],
    ['orig_max_position_embeddings', 5000],
  ])('%s: %j', (field, value) => {
    const [name = ''] = field.split('.');
    const error = refusal({ [name]: value });
    expect(error).toMatchObject({ code: 'invalid_checkpoint', field });
    expect(error.message).toMatch(/it must|must be|there are|already|needs/);
  });

  it('and so is one that is not there, or not JSON', async () => {
    await expect(readConfig('/nowhere')).rejects.toMatchObject({
      code: 'invalid_checkpoint',
      file: '/nowhere/config.json',
    });
    expect(() => parseConfig('{', 'config.json')).toThrow(CheckpointError);
    expect(() => parseConfig('[]', 'config.json')).toThrow(CheckpointError);
  });
});
