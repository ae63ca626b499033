import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseConfig } from './config.ts';
import { randomTokenizer } from './random-tokenizer.ts';
import { type FloatFormat, floatBytes } from './safetensors/float-formats.ts';
import { type TensorSource, writeSafetensors } from './safetensors/write.ts';
import { type CheckpointTensor, WeightLayout } from './weights/layout.ts';
import type { WriteProgress } from './weights/write-weights.ts';

export interface RandomCheckpointOptions {
  readonly dtype?: FloatFormat;
  /** Any whole number; the same one gives the same file. */
  readonly seed?: number;
  readonly onProgress?: (progress: WriteProgress) => void;
}

/** Elements written at a time; the same random block serves every matrix, since making billions takes minutes. */
const blockElements = 1 << 20;

/**
 * Writes a checkpoint in the released layout with the sizes of `config` (the contents of a `config.json`) and random
 * weights, of scales that keep activations finite: for measuring speed and memory without a download. Where the vocabulary
 * has room for every byte it gets a byte-level tokenizer, so that it can be served.
 */
export async function writeRandomCheckpoint(
  folder: string,
  config: Readonly<Record<string, unknown>>,
  { dtype = 'BF16', seed = 1, onProgress = () => {} }: RandomCheckpointOptions = {},
): Promise<void> {
  const text = `${JSON.stringify(config, null, 2)}\n`;
  const file = join(folder, 'config.json');
  const parsed = parseConfig(text, file);
  const layout = new WeightLayout(parsed);
  const noise = randomBlock(seed);
  const needed = layout.tensors.flatMap(({ source }) =>
    source.kind === 'rope' ? [] : source.kind === 'rows' ? source.of : [source.of],
  );
  const elements = needed.reduce((sum, { shape }) => sum + product(shape), 0);
  const bytesTotal = elements * floatBytes[dtype];
  let bytesDone = 0;
  function* values(tensor: CheckpointTensor): Generator<Float32Array> {
    for (const block of blocks(tensor, noise)) {
      yield block;
      bytesDone += block.length * floatBytes[dtype];
      onProgress({ bytesDone, bytesTotal });
    }
  }
  await mkdir(folder, { recursive: true });
  for (const [name, content] of randomTokenizer(parsed.vocabularySize)) {
    await writeFile(join(folder, name), JSON.stringify(content));
  }
  await writeFile(file, text);
  await writeSafetensors(
    join(folder, 'model.safetensors'),
    needed.map((tensor): TensorSource => ({ ...tensor, dtype, values: () => values(tensor) })),
  );
}

const product = (shape: readonly number[]): number => shape.reduce((size, dim) => size * dim, 1);

function* blocks({ name, shape }: CheckpointTensor, noise: Float32Array): Generator<Float32Array> {
  const total = product(shape);
  const [, columns = 1] = shape;
  for (let at = 0; at < total; at += blockElements) {
    const count = Math.min(blockElements, total - at);
    // The S4D-real start of Mamba: state n decays at rate n + 1.
    if (name.endsWith('.A_log.0'))
      yield Float32Array.from({ length: count }, (_, i) => Math.log(((at + i) % columns) + 1));
    // softplus of this is a time step of 0.01.
    else if (name.endsWith('.dt_proj.0.bias')) yield new Float32Array(count).fill(-4.6);
    else if (name.endsWith('.conv1d.bias')) yield new Float32Array(count);
    else if (/layernorm\d?\.weight$|\.D\.0$/.test(name)) yield new Float32Array(count).fill(1);
    else yield noise.subarray(0, count);
  }
}

/** Uniform in ±0.035, a standard deviation of 0.02, from xorshift32. */
function randomBlock(seed: number): Float32Array {
  const block = new Float32Array(blockElements);
  let state = seed | 0 || 1;
  for (let i = 0; i < block.length; i++) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    block[i] = (state / 2 ** 31) * 0.035;
  }
  return block;
}
