import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { CheckpointError } from '@baton/errors';
import { cachesOf, type KvCacheSpec } from './config/caches.ts';
import { type RawConfig, rawConfig } from './config/raw-config.ts';
import { refuseUnsupported } from './config/refusals.ts';

export type { KvCacheSpec } from './config/caches.ts';

/** What decides a Hymba's arithmetic, with derived sizes. Notation of the Mamba and Hymba (arXiv 2411.13676) papers. */
export interface HymbaConfig {
  readonly vocabularySize: number;
  readonly hiddenSize: number;
  /** Width of the MLP's inner layer. */
  readonly intermediateSize: number;
  readonly layers: number;
  readonly heads: number;
  readonly kvHeads: number;
  /** Width of one query or key head: hidden / heads. */
  readonly keySize: number;
  /** Width of one value head: inner / heads. */
  readonly valueSize: number;
  /** Channels of the Mamba half, and width of the attention half's output. */
  readonly innerSize: number;
  readonly stateSize: number;
  readonly convKernel: number;
  readonly dtRank: number;
  /** Learned tokens before every prompt, at positions 0 … metaTokens-1. */
  readonly metaTokens: number;
  /** A sliding layer's query q sees key k when `q - k <= slidingWindow` or k is a meta token. */
  readonly slidingWindow: number | null;
  /** Every KV cache and the layers that read it; a cache is written by the first of them. */
  readonly caches: readonly KvCacheSpec[];
  readonly ropeBase: number;
  /** Prompt and output tokens together, at most; the meta tokens come on top. */
  readonly contextLength: number;
  readonly normEpsilon: number;
  readonly activation: 'silu' | 'relu2';
  readonly tiedHead: boolean;
}

/** Parses the `config.json` text of a Hymba checkpoint; `file` is named in the `CheckpointError` it may throw. */
export function parseConfig(text: string, file: string): HymbaConfig {
  const raw = parseRaw(text, file);
  const { hidden_size: hidden, num_attention_heads: heads, num_key_value_heads: kvHeads } = raw;
  const inner = raw.mamba_expand * hidden;
  const invalid = (field: keyof RawConfig, right: string): CheckpointError =>
    new CheckpointError(
      'invalid_checkpoint',
      `${file}: "${field}" is ${JSON.stringify(raw[field])}; ${right}`,
      {
        file,
        field,
      },
    );

  if (hidden % (2 * heads) !== 0) {
    throw invalid('hidden_size', `it must be an even multiple of num_attention_heads (${heads})`);
  }
  if (!Number.isInteger(inner) || inner % heads !== 0) {
    throw invalid(
      'mamba_expand',
      `mamba_expand × hidden_size must be a multiple of num_attention_heads (${heads})`,
    );
  }
  if (heads % kvHeads !== 0) {
    throw invalid('num_key_value_heads', `it must divide num_attention_heads (${heads})`);
  }
  const sizes = { keySize: hidden / heads, valueSize: inner / heads, innerSize: inner };
  refuseUnsupported(raw, sizes, file);

  return {
    ...sizes,
    vocabularySize: raw.vocab_size,
    hiddenSize: hidden,
    intermediateSize: raw.intermediate_size,
    layers: raw.num_hidden_layers,
    heads,
    kvHeads,
    stateSize: raw.mamba_d_state,
    convKernel: raw.mamba_d_conv,
    dtRank: raw.mamba_dt_rank === 'auto' ? Math.ceil(hidden / 16) : raw.mamba_dt_rank,
    metaTokens: raw.num_memory_tokens,
    slidingWindow: raw.sliding_window,
    caches: cachesOf(raw, file),
    ropeBase: ropeBaseOf(raw, sizes.keySize, invalid),
    contextLength: raw.max_position_embeddings,
    normEpsilon: raw.rms_norm_eps,
    activation: raw.mlp_hidden_act === 'relu2' ? 'relu2' : 'silu',
    tiedHead: raw.tie_word_embeddings,
  };
}

/** Reads and parses `config.json` of a checkpoint folder. */
export async function readConfig(folder: string): Promise<HymbaConfig> {
  const file = join(folder, 'config.json');
  const text = await readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
    throw new CheckpointError('invalid_checkpoint', `${file} cannot be read (${error.code})`, { file });
  });
  return parseConfig(text, file);
}

function parseRaw(text: string, file: string): RawConfig {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    throw new CheckpointError('invalid_checkpoint', `${file} is not JSON: ${(error as Error).message}`, {
      file,
    });
  }
  const parsed = rawConfig.safeParse(json);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  const field = issue?.path.join('.') ?? '';
  const value = issue?.path.reduce<unknown>(
    (at, key) => (typeof at === 'object' && at !== null ? Reflect.get(at, key) : undefined),
    json,
  );
  const found = value === undefined ? 'is missing' : `is ${JSON.stringify(value)}`;
  throw new CheckpointError('invalid_checkpoint', `${file}: "${field}" ${found}; ${issue?.message}`, {
    file,
    field,
  });
}

/** `ntk` stretches the base so that the longest wavelength covers the extended context. */
function ropeBaseOf(
  raw: RawConfig,
  headSize: number,
  invalid: (field: keyof RawConfig, right: string) => CheckpointError,
): number {
  if (raw.rope_type !== 'ntk') return raw.rope_theta;
  if (raw.orig_max_position_embeddings === null || headSize <= 2) {
    throw invalid(
      'orig_max_position_embeddings',
      'rope_type "ntk" needs it, and heads of more than 2 elements',
    );
  }
  const stretch = (2 * raw.max_position_embeddings) / raw.orig_max_position_embeddings - 1;
  if (stretch <= 0)
    throw invalid('orig_max_position_embeddings', 'it must be below 2 × max_position_embeddings');
  return raw.rope_theta * stretch ** (headSize / (headSize - 2));
}
