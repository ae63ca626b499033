/**
 * The GGUF file format, version 3 (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md): magic, metadata, a list of
 * tensors, then their data. All little-endian.
 */
export type MetadataValue =
  | { readonly type: 'uint32' | 'float32'; readonly value: number }
  | { readonly type: 'string'; readonly value: string }
  | { readonly type: 'strings'; readonly value: readonly string[] }
  | { readonly type: 'float32s' | 'int32s'; readonly value: readonly number[] };

/** Bytes and elements of a block, and the id, of each tensor type used here. */
export const tensorTypes = {
  F32: { id: 0, blockBytes: 4, blockElements: 1 },
  /** A float16 scale and 32 values of 4 bits. */
  Q4_0: { id: 2, blockBytes: 18, blockElements: 32 },
} as const;

export interface GgufTensor {
  readonly name: string;
  readonly type: keyof typeof tensorTypes;
  /** Fastest-varying size first: [in, out] for a linear layer. */
  readonly dims: readonly number[];
}

/** Tensor data begins at multiples of this, counted from the end of the header. */
export const alignment = 32;

export const align = (bytes: number): number => Math.ceil(bytes / alignment) * alignment;

export function tensorBytes({ name, type, dims }: GgufTensor): number {
  const { blockBytes, blockElements } = tensorTypes[type];
  const [row = 0, ...rest] = dims;
  if (row % blockElements !== 0) {
    throw new RangeError(
      `rows of ${name} have ${row} elements; ${type} needs a multiple of ${blockElements}`,
    );
  }
  return rest.reduce((bytes, dim) => bytes * dim, (row / blockElements) * blockBytes);
}

/** Everything before the tensors' data, padded to the alignment. Each tensor's data follows, padded likewise. */
export function ggufHeader(
  metadata: Readonly<Record<string, MetadataValue>>,
  tensors: readonly GgufTensor[],
): Uint8Array {
  const parts = [Buffer.from('GGUF'), u32(3), u64(tensors.length), u64(Object.keys(metadata).length)];
  for (const [key, value] of Object.entries(metadata)) parts.push(string(key), encode(value));
  let offset = 0;
  for (const tensor of tensors) {
    const { name, type, dims } = tensor;
    parts.push(string(name), u32(dims.length), ...dims.map(u64), u32(tensorTypes[type].id), u64(offset));
    offset += align(tensorBytes(tensor));
  }
  const header = Buffer.concat(parts);
  return Buffer.concat([header, Buffer.alloc(align(header.length) - header.length)]);
}

const typeIds = { uint32: 4, int32: 5, float32: 6, string: 8, array: 9 } as const;

function encode(metadata: MetadataValue): Buffer {
  switch (metadata.type) {
    case 'uint32':
      return Buffer.concat([u32(typeIds.uint32), u32(metadata.value)]);
    case 'float32':
      return Buffer.concat([u32(typeIds.float32), f32(metadata.value)]);
    case 'string':
      return Buffer.concat([u32(typeIds.string), string(metadata.value)]);
    case 'strings':
      return array(typeIds.string, metadata.value.map(string));
    case 'float32s':
      return array(typeIds.float32, metadata.value.map(f32));
    case 'int32s':
      return array(typeIds.int32, metadata.value.map(i32));
  }
}

function array(typeId: number, elements: readonly Buffer[]): Buffer {
  return Buffer.concat([u32(typeIds.array), u32(typeId), u64(elements.length), ...elements]);
}

function string(text: string): Buffer {
  const bytes = Buffer.from(text);
  return Buffer.concat([u64(bytes.length), bytes]);
}

function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}

function i32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32LE(value);
  return bytes;
}

function f32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeFloatLE(value);
  return bytes;
}

function u64(value: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt(value));
  return bytes;
}
