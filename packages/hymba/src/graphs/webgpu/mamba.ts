import { float, int, ints, text, type Value } from '../../onnx/index.ts';
import { silu, weight } from '../context.ts';
import { graphNames } from '../contract.ts';
import { type GpuContext, gpuSizes } from './context.ts';
import { fastOutputs, gpuLinear } from './linear.ts';
import { gpuNorm } from './norm.ts';

/**
 * The Mamba half of a layer (Mamba-1, arXiv 2312.00752): x and gate [B, T, D] → [B, T, D]. States are written where they
 * lie; those of a sequence that takes no part in this step keep what they are.
 */
export function gpuMamba(context: GpuContext, layer: number, x: Value, gate: Value): Value {
  const { graph, config } = context;
  const { dtRank, stateSize } = config;
  const of = (name: string) => `layers.${layer}.${name}`;
  const u = convolution(context, layer, x);
  const width = dtRank + 2 * stateSize;
  const outputs = fastOutputs(context, of('x_proj'), width);
  const projected = gpuLinear(context, u, of('x_proj'), { outputs });
  const filling = outputs > width ? [outputs - width] : [];
  const [dtLow = '', b = '', c = ''] = graph.split(projected, [dtRank, stateSize, stateSize, ...filling]);
  const dtHigh = gpuLinear(context, gpuNorm(context, dtLow, of('dt_norm')), of('dt_proj'), {
    bias: of('dt_bias'),
  });
  // A time step of 0 decays nothing and adds nothing.
  const dt = graph.op('Mul', [graph.op('Softplus', [dtHigh]), graphNames.active]);
  const read = scan(context, layer, {
    dt,
    input: graph.op('Mul', [u, dt]),
    b: gpuNorm(context, b, of('b_norm')),
    c: gpuNorm(context, c, of('c_norm')),
  });
  const y = graph.op('Add', [read, graph.op('Mul', [u, weight(context, of('skip'))])]);
  return graph.op('Mul', [y, silu(context, gate)]);
}

/** Causal depthwise convolution with bias, then SiLU: [B, T, D] → [B, T, D]. */
function convolution(context: GpuContext, layer: number, x: Value): Value {
  const { graph, config } = context;
  const { innerSize, convKernel } = config;
  const kept = convKernel - 1;
  const of = (name: string) => `layers.${layer}.${name}`;
  const dims = [gpuSizes(context).batch, kept * innerSize];
  const past = graph.input(graphNames.conv(layer), 'float32', dims);
  const [output, fresh] = [of('u'), of('conv_fresh')];
  graph.node(
    'com.microsoft.CausalConvWithState',
    [
      x,
      weight(context, of('conv')),
      weight(context, of('conv_bias')),
      graph.op('Reshape', [past, graph.int64s([0, kept, innerSize])]),
    ],
    [output, fresh],
    { activation: text('silu'), ndim: int(1), channels_last: int(1) },
  );
  const updates = graph.op('Reshape', [fresh, graph.int64s([0, kept * innerSize])]);
  const next = graphNames.newConv(layer);
  graph.node('ScatterElements', [past, graphNames.stateRows, updates], [next], { axis: int(0) });
  graph.output(next, 'float32', dims);
  return output;
}

interface ScanInputs {
  /** [B, T, D] */
  readonly dt: Value;
  /** dt · u, [B, T, D] */
  readonly input: Value;
  /** [B, T, N] */
  readonly b: Value;
  readonly c: Value;
}

/**
 * The selective scan as gated linear attention, for any number of tokens: each channel is a head with a value of width 1
 * and a state of its own, B is every head's key and C every head's query. → [B, T, D]
 */
function scan(context: GpuContext, layer: number, { dt, input, b, c }: ScanInputs): Value {
  const { graph, config } = context;
  const { innerSize, stateSize } = config;
  const shape = [gpuSizes(context).batch, innerSize, stateSize, 1];
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
