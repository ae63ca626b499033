import { open } from 'node:fs/promises';
import { encodeFloats, type FloatFormat, floatBytes } from './float-formats.ts';

/** A tensor to write; `values` gives its elements in order, in blocks of any size, when its turn comes. */
export interface TensorSource {
  readonly name: string;
  readonly shape: readonly number[];
  readonly dtype: FloatFormat;
  values(): Iterable<Float32Array>;
}

/** Writes a safetensors file block by block. Throws `RangeError` where a source's elements do not fill its shape. */
export async function writeSafetensors(file: string, tensors: readonly TensorSource[]): Promise<void> {
  const header: Record<string, unknown> = { __metadata__: { format: 'pt' } };
  let end = 0;
  for (const { name, shape, dtype } of tensors) {
    const begin = end;
    end += bytesOf({ shape, dtype });
    header[name] = { dtype, shape, data_offsets: [begin, end] };
  }
  // Readers map the file: data starts at a multiple of 8.
  const json = Buffer.from(JSON.stringify(header));
  const padded = Buffer.alloc(Math.ceil(json.length / 8) * 8, ' ');
  json.copy(padded);
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(padded.length));

  await using handle = await open(file, 'w');
  await handle.writeFile(Buffer.concat([length, padded]));
  for (const tensor of tensors) {
    let written = 0;
    for (const block of tensor.values()) {
      const bytes = encodeFloats(block, tensor.dtype);
      await handle.writeFile(bytes);
      written += bytes.length;
    }
    if (written !== bytesOf(tensor)) {
      throw new RangeError(
        `tensor "${tensor.name}" needs ${bytesOf(tensor)} bytes, its source gave ${written}`,
      );
    }
  }
}

function bytesOf({ shape, dtype }: Pick<TensorSource, 'shape' | 'dtype'>): number {
  return shape.reduce((product, dim) => product * dim, floatBytes[dtype]);
}
