import { int, text, type Value } from '../../onnx/index.ts';
import { type GraphContext, weight } from '../context.ts';
import type { ConvolutionInputs } from '../mamba.ts';

/** Causal depthwise convolution with bias, then SiLU, as one operator: [1, T, D] → [1, T, D]. */
export function causalConvolution(
  context: GraphContext,
  layer: number,
  { x, past, next }: ConvolutionInputs,
): Value {
  const output = `layers.${layer}.u`;
  context.graph.node(
    'com.microsoft.CausalConvWithState',
    [x, weight(context, `layers.${layer}.conv`), weight(context, `layers.${layer}.conv_bias`), past],
    [output, next],
    { activation: text('silu'), ndim: int(1), channels_last: int(1) },
  );
  return output;
}
