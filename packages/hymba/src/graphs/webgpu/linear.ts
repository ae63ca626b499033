import { type GraphBuilder, int, type Value } from '../../onnx/index.ts';
import { encodingOf } from '../../weights/forms.ts';
import type { WeightLayout } from '../../weights/layout.ts';
import { weight } from '../context.ts';
import { rowsLinear } from '../quantised.ts';
import type { GpuContext } from './context.ts';

/** Multiples of inputs and of outputs for which WebGPU multiplies blocks of 4 and 8 bits with its integer dot product. */
const fast = { inputs: 128, outputs: 16 } as const;

const upTo = (size: number, step: number): number => Math.ceil(size / step) * step;

/** The residual stream's width: a product with blocks over any other goes without them, and slows down with every row. */
export function residualWidth(layout: WeightLayout, hiddenSize: number): number {
  const { kind } = encodingOf(layout.form, 'large');
  return kind === 'blocks' ? upTo(hiddenSize, fast.inputs) : hiddenSize;
}

interface LinearSizes {
  /** Of x, where it is wider than the weight: what is beyond must be 0. */
  readonly inputs?: number;
  /** To give, where that is more than the weight has: zeros, or nothing that means anything beyond them. */
  readonly outputs?: number;
  /** The name of a vector [out] to add. */
  readonly bias?: string;
}

/** How many outputs a fast product over `outputs` has. */
export function fastOutputs({ layout }: Pick<GpuContext, 'layout'>, name: string, outputs: number): number {
  return layout.find(name).encoding.kind === 'blocks' ? upTo(outputs, fast.outputs) : outputs;
}

/** x [B, T, in] → [B, T, out] over a weight [out, in] in any form; the runtime pads weights once, when it opens the graph. */
export function gpuLinear(context: GpuContext, x: Value, name: string, sizes: LinearSizes = {}): Value {
  const { graph, layout } = context;
  const stored = layout.find(name);
  const [rows = 0, columns = 0] = stored.dims;
  const { inputs = columns, outputs = rows, bias } = sizes;
  const added = bias === undefined ? [] : [weight(context, bias)];
  switch (stored.encoding.kind) {
    case 'rows': {
      const product = rowsLinear(graph, x, stored);
      return added.length > 0 ? graph.op('Add', [product, ...added]) : product;
    }
    case 'float32': {
      // Of the products that transpose the weight, WebGPU has only Gemm.
      const flat = graph.op('Reshape', [x, graph.int64s([-1, inputs])]);
      const product = graph.op('Gemm', [flat, weight(context, name), ...added], { transB: int(1) });
      return graph.op('Reshape', [
        product,
        graph.int64s([context.decode ? -1 : 1, context.decode ? 1 : -1, outputs]),
      ]);
    }
    case 'blocks': {
      const { bits, blockSize } = stored.encoding;
      const blocks = Math.ceil(inputs / blockSize) - Math.ceil(columns / blockSize);
      const pads = [0, 0, outputs - rows, blocks];
      const data = padded(graph, graph.external(stored.data), [0, 0, 0, outputs - rows, blocks, 0]);
      const scales = stored.scales ? [padded(graph, graph.external(stored.scales), pads)] : [];
      const none = added.length > 0 ? ['', ''] : [];
      return graph.op('com.microsoft.MatMulNBits', [x, data, ...scales, ...none, ...added], {
        K: int(inputs),
        N: int(outputs),
        bits: int(bits),
        block_size: int(blockSize),
        accuracy_level: int(4),
      });
    }
  }
}

/** A value with zeros after it: first how many before each axis, then how many behind. */
export function padded(graph: GraphBuilder, value: Value, pads: readonly number[]): Value {
  return pads.some((count) => count > 0) ? graph.op('Pad', [value, graph.int64s(pads)]) : value;
}
