import { GraphBuilder } from '../onnx/index.ts';

/** The bytes of the smallest ONNX model that computes something (`y = x · x`): it tells whether a device is there. */
export function buildProbe(): Uint8Array {
  const graph = new GraphBuilder('probe');
  const x = graph.input('x', 'float32', ['N']);
  graph.node('Mul', [x, x], ['y']);
  graph.output('y', 'float32', ['N']);
  return graph.model();
}

/** The same for `y = x` through float16: whether a device has that. */
export function buildFloat16Probe(): Uint8Array {
  const graph = new GraphBuilder('probe');
  const x = graph.input('x', 'float32', ['N']);
  graph.node('Identity', [graph.cast(graph.cast(x, 'float16'), 'float32')], ['y']);
  graph.output('y', 'float32', ['N']);
  return graph.model();
}
