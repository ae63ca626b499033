import type { ExternalTensor } from '../onnx/index.ts';
import type { StoredTensor } from './layout.ts';
import { quantiseBlocks, quantiseRows, transpose } from './quantise.ts';

/** Bytes that follow those before them in the same stored tensor. */
export interface EncodedBytes {
  readonly of: ExternalTensor;
  readonly bytes: Uint8Array;
}

/**
 * Turns a weight's elements, which come in blocks of whole rows, into what the file holds of it. Holds no more in memory
 * than a block, the scales and, where the rows are to be transposed, the int8 matrix.
 */
export async function* encode(
  { encoding, dims, data, scales }: StoredTensor,
  blocks: AsyncIterable<Float32Array>,
): AsyncGenerator<EncodedBytes> {
  if (encoding.kind === 'float32' || !scales) {
    for await (const block of blocks) yield { of: data, bytes: bytesOf(block) };
    return;
  }
  const [rows = 0, columns = 0] = dims;
  const allScales = new Float32Array(scales.bytes / Float32Array.BYTES_PER_ELEMENT);
  const matrix = new Int8Array(encoding.kind === 'rows' ? rows * columns : 0);
  let scalesDone = 0;
  let elementsDone = 0;
  for await (const block of blocks) {
    const quantised =
      encoding.kind === 'rows' ? quantiseRows(block, columns) : quantiseBlocks(block, columns, encoding);
    allScales.set(quantised.scales, scalesDone);
    scalesDone += quantised.scales.length;
    if (encoding.kind === 'rows') matrix.set(quantised.data, elementsDone);
    else yield { of: data, bytes: bytesOf(quantised.data) };
    elementsDone += block.length;
  }
  if (encoding.kind === 'rows') yield { of: data, bytes: bytesOf(transpose(matrix, columns)) };
  yield { of: scales, bytes: bytesOf(allScales) };
}

function bytesOf(values: Float32Array | Int8Array | Uint8Array): Uint8Array {
  return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
}
