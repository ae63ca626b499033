import { float, int, ints, text, type Value } from '../../onnx/index.ts';
import { type GraphContext, weight } from '../context.ts';
import { graphNames } from '../contract.ts';
import type { ScanInputs } from '../mamba.ts';

/**
 * The selective scan as gated linear attention, for any number of tokens: each channel is a head with a value of width 1
 * and a state of its own, B is every head's key and C every head's query. → [1, T, D]
 */
export function linearAttentionScan(
  context: GraphContext,
  layer: number,
  { dt, input, b, c }: ScanInputs,
): Value {
  const { graph, config } = context;
  const { innerSize, stateSize } = config;
  const shape = [1, innerSize, stateSize, 1];
  const past = graph.input(graphNames.ssm(layer), 'float32', shape);
  const rates = graph.op('Transpose', [weight(context, `layers.${layer}.decay`)], { perm: ints(1, 0) });
  const logDecay = graph.op('Mul', [graph.op('Unsqueeze', [dt, graph.int64s([3])]), rates]);
  const read = `layers.${layer}.read`;
  graph.node(
    'com.microsoft.LinearAttention',
    [c, b, input, past, graph.op('Reshape', [logDecay, graph.int64s([0, 0, innerSize * stateSize])])],
    [read, graphNames.newSsm(layer)],
    { update_rule: text('gated'), q_num_heads: int(1), kv_num_heads: int(innerSize), scale: float(1) },
  );
  graph.output(graphNames.newSsm(layer), 'float32', shape);
  return read;
}
