import { createHash } from 'node:crypto';
import { open } from 'node:fs/promises';
import type { HymbaConfig } from '../config.ts';
import type { Checkpoint } from '../safetensors/checkpoint.ts';
import { encode } from './encode.ts';
import type { StoredTensor, WeightLayout } from './layout.ts';
import { ropeTable } from './rope-table.ts';

export interface WriteProgress {
  readonly bytesDone: number;
  readonly bytesTotal: number;
}

/** Throws `CheckpointError` unless every tensor that the layout needs is there with its shape. */
export function checkTensors(layout: WeightLayout, checkpoint: Checkpoint): void {
  for (const { source } of layout.tensors) {
    if (source.kind === 'rope') continue;
    const needed = source.kind === 'rows' ? source.of : [source.of];
    for (const { name, shape } of needed) checkpoint.expectFloats(name, shape);
  }
}

/**
 * Writes the weights file, block by block, and gives its SHA-256. Memory use depends on the largest matrix at most, not on
 * how many there are.
 */
export async function writeWeights(
  file: string,
  from: { readonly config: HymbaConfig; readonly layout: WeightLayout; readonly checkpoint: Checkpoint },
  onProgress: (progress: WriteProgress) => void,
): Promise<string> {
  const { config, layout, checkpoint } = from;
  const hash = createHash('sha256');
  let bytesDone = 0;
  await using handle = await open(file, 'wx');
  const append = async (bytes: Uint8Array) => {
    await handle.writeFile(bytes);
    hash.update(bytes);
    bytesDone += bytes.length;
  };
  for (const tensor of layout.tensors) {
    for await (const { of, bytes } of encode(tensor, elements(tensor, config, checkpoint))) {
      // Only the first bytes of a stored tensor may lie behind a gap.
      if (bytesDone < of.offset) await append(new Uint8Array(of.offset - bytesDone));
      await append(bytes);
    }
    onProgress({ bytesDone, bytesTotal: layout.bytes });
  }
  await handle.sync();
  return hash.digest('hex');
}

/** Elements read at a time, but always whole rows. */
const blockElements = 1 << 20;

async function* elements(
  { source, dims }: StoredTensor,
  config: HymbaConfig,
  checkpoint: Checkpoint,
): AsyncGenerator<Float32Array<ArrayBuffer>> {
  switch (source.kind) {
    case 'rows': {
      const row = dims.slice(1).reduce((size, dim) => size * dim, 1);
      const block = Math.max(1, Math.floor(blockElements / row)) * row;
      for (const { name } of source.of) yield* checkpoint.readFloats(name, block);
      return;
    }
    case 'decay':
      yield decay(await checkpoint.floats(source.of.name), config);
      return;
    case 'rope':
      yield ropeTable(config, source.function);
  }
}

/** A_log [D, N] → A = -exp(A_log) [N, D] */
function decay(aLog: Float32Array, { innerSize, stateSize }: HymbaConfig): Float32Array<ArrayBuffer> {
  const a = new Float32Array(aLog.length);
  for (let channel = 0; channel < innerSize; channel++) {
    for (let n = 0; n < stateSize; n++) {
      a[n * innerSize + channel] = -Math.exp(aLog[channel * stateSize + n] ?? 0);
    }
  }
  return a;
}
