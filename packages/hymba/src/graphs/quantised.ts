import { type GraphBuilder, int, type Value } from '../onnx/index.ts';
import type { Encoding } from '../weights/forms.ts';
import type { StoredTensor } from '../weights/layout.ts';

type Blocks = Extract<Encoding, { kind: 'blocks' }>;

/** x [.., in] → [.., out] over weights in blocks, plus a bias. Inputs are rounded to int8 too, each row and block by itself. */
export function blocksLinear(
  graph: GraphBuilder,
  x: Value,
  { dims, data, scales }: StoredTensor,
  { bits, blockSize }: Blocks,
  bias: Value | null = null,
): Value {
  const [outputs = 0, inputs = 0] = dims;
  const stored = [graph.external(data), scales ? graph.external(scales) : ''];
  // Zero points and an order of the inputs come before a bias; neither is used.
  const added = bias === null ? [] : ['', '', bias];
  return graph.op('com.microsoft.MatMulNBits', [x, ...stored, ...added], {
    K: int(inputs),
    N: int(outputs),
    bits: int(bits),
    block_size: int(blockSize),
    accuracy_level: int(4),
  });
}

/** ids [..] → the rows [.., width] of a table in blocks. */
export function blocksGather(
  graph: GraphBuilder,
  ids: Value,
  { dims, data, scales }: StoredTensor,
  { bits, blockSize }: Blocks,
): Value {
  const [rows = 0, width = 0] = dims;
  const rowBytes = data.bytes / rows;
  // The same bytes as a linear layer reads, with the blocks of a row in one axis.
  const table = graph.external({ ...data, name: `${data.name}.table`, dims: [rows, rowBytes] });
  const stored = [table, ids, ...(scales ? [graph.external(scales)] : [])];
  const found = graph.op('com.microsoft.GatherBlockQuantized', stored, {
    gather_axis: int(0),
    quantize_axis: int(1),
    bits: int(bits),
    block_size: int(blockSize),
  });
  const filling = (rowBytes * 8) / bits - width;
  return filling === 0 ? found : graph.split(found, [width, filling] as const)[0];
}

/**
 * x [.., in] → [.., out] over int8 weights with a scale for each output. Every row of x is rounded to int8 by its own
 * largest magnitude, so that a sequence's result does not depend on which others are in its batch.
 */
export function rowsLinear(graph: GraphBuilder, x: Value, { data, scales }: StoredTensor): Value {
  const largest = graph.op('ReduceMax', [graph.op('Abs', [x]), graph.int64s([-1])], { keepdims: int(1) });
  // A row of zeros needs a scale above zero as well.
  const positive = graph.op('Max', [largest, graph.float32(2 ** -100)]);
  const inputScale = graph.op('Mul', [positive, graph.float32(1 / 127)]);
  // Signed inputs would be multiplied without the processor's int8 instructions, so they are stored from 1 to 255.
  const zero = graph.uint8(128);
  const scaled = graph.op('Div', [x, inputScale]);
  const rounded = graph.op('QuantizeLinear', [scaled, graph.float32(1), zero]);
  const stored = [graph.external(data), graph.float32(1), ...(scales ? [graph.external(scales)] : []), zero];
  const product = graph.op('com.microsoft.MatMulIntegerToFloat', [rounded, ...stored]);
  return graph.op('Mul', [product, inputScale]);
}
