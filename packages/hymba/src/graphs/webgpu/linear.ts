import { int, type Value } from '../../onnx/index.ts';
import { type GraphContext, weight } from '../context.ts';

/** x [1, T, in] → [1, T, out] over a float32 weight [out, in]. Of the products that transpose it, WebGPU has only Gemm. */
export function gemm(context: GraphContext, x: Value, name: string): Value {
  const { graph, layout } = context;
  const [outputs = 0, inputs = 0] = layout.get(name).dims;
  const flat = graph.op('Reshape', [x, graph.int64s([-1, inputs])]);
  const product = graph.op('Gemm', [flat, weight(context, name)], { transB: int(1) });
  return graph.op('Reshape', [product, graph.int64s([1, -1, outputs])]);
}
