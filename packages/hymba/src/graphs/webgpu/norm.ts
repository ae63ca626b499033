import { float, type Value } from '../../onnx/index.ts';
import { weight } from '../context.ts';
import type { GpuContext } from './context.ts';
import { padded } from './linear.ts';

/** RMS norm of x [.., W], times `factor`. */
export function gpuNorm(context: GpuContext, x: Value, name: string, factor = 1): Value {
  const { gain, attributes } = parameters(context, name, factor);
  return context.graph.op('SimplifiedLayerNormalization', [x, gain], attributes);
}

/** The RMS norm of a + b, and a + b itself. */
export function addAndNorm(
  context: GpuContext,
  a: Value,
  b: Value,
  name: string,
): { normed: Value; sum: Value } {
  const { gain, attributes } = parameters(context, name);
  const [normed, sum] = [`${name}.normed`, `${name}.sum`];
  const outputs = [normed, '', '', sum];
  context.graph.node('com.microsoft.SkipSimplifiedLayerNormalization', [a, b, gain], outputs, {
    epsilon: attributes.epsilon,
  });
  return { normed, sum };
}

/** A norm over the residual stream runs over its padding of zeros too, which shrinks the mean: the gain makes up for it. */
function parameters(context: GpuContext, name: string, factor = 1) {
  const { graph, config, layout, width } = context;
  const [size = 0] = layout.get(name).dims;
  const stored = weight(context, name);
  const wide = size === config.hiddenSize ? width : size;
  const share = size / wide;
  const scale = factor * Math.sqrt(share);
  const scaled = scale === 1 ? stored : graph.op('Mul', [stored, graph.float32(scale)]);
  const gain = padded(graph, scaled, [0, wide - size]);
  return { gain, attributes: { epsilon: float(config.normEpsilon * share) } };
}
