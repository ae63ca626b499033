import { graph as body, GraphBuilder, int, ints, text, type Value } from '../onnx/index.ts';
import { type GraphContext, linear, rmsNorm, silu, sizes, weight } from './context.ts';
import { graphNames } from './contract.ts';
import { linearAttentionScan } from './webgpu/scan.ts';

/** The Mamba half of a layer (Mamba-1, arXiv 2312.00752): x and gate [B, T, D] → [B, T, D]. */
export function mamba(context: GraphContext, layer: number, x: Value, gate: Value): Value {
  const { graph, config } = context;
  const of = (name: string) => `layers.${layer}.${name}`;
  const u = convolution(context, layer, x);
  const [dtLow, b, c] = graph.split(linear(context, u, of('x_proj')), [
    config.dtRank,
    config.stateSize,
    config.stateSize,
  ]);
  const dtHigh = linear(context, rmsNorm(context, dtLow, of('dt_norm')), of('dt_proj'));
  const dt = graph.op('Softplus', [graph.op('Add', [dtHigh, weight(context, of('dt_bias'))])]);
  const scanOver = context.mode === 'webgpu' ? linearAttentionScan : scan;
  const read = scanOver(context, layer, {
    dt,
    input: graph.op('Mul', [u, dt]),
    b: rmsNorm(context, b, of('b_norm')),
    c: rmsNorm(context, c, of('c_norm')),
  });
  const y = graph.op('Add', [read, graph.op('Mul', [u, weight(context, of('skip'))])]);
  return graph.op('Mul', [y, silu(context, gate)]);
}

/** Causal depthwise convolution with bias, then SiLU. */
function convolution(context: GraphContext, layer: number, x: Value): Value {
  const { graph, mode, config } = context;
  const shape = [sizes(mode).batch, config.convKernel - 1, config.innerSize];
  const past = graph.input(graphNames.conv(layer), 'float32', shape);
  const output = `layers.${layer}.u`;
  graph.node(
    'com.microsoft.CausalConvWithState',
    [x, weight(context, `layers.${layer}.conv`), weight(context, `layers.${layer}.conv_bias`), past],
    [output, graphNames.newConv(layer)],
    { activation: text('silu'), ndim: int(1), channels_last: int(1) },
  );
  graph.output(graphNames.newConv(layer), 'float32', shape);
  return output;
}

export interface ScanInputs {
  /** [B, T, D] */
  readonly dt: Value;
  /** dt · u, [B, T, D] */
  readonly input: Value;
  /** [B, T, N] */
  readonly b: Value;
  readonly c: Value;
}

/** The selective scan: `h ← exp(dt · A) h + dt · u · B`, read as `C h`, with h [B, N, D] → [B, T, D]. */
function scan(context: GraphContext, layer: number, { dt, input, b, c }: ScanInputs): Value {
  const { graph, mode, config } = context;
  const { batch } = sizes(mode);
  const shape = [batch, config.stateSize, config.innerSize];
  const decay = weight(context, `layers.${layer}.decay`);
  const past = graph.input(graphNames.ssm(layer), 'float32', shape);
  const next = graphNames.newSsm(layer);
  graph.output(next, 'float32', shape);
  if (mode === 'decode') return scanStep(graph, { dt, input, b, c, decay, past, next });

  // The body sees one token of each scanned input, without the token axis.
  const step = new GraphBuilder(`scan_${layer}`);
  const token = { batch, inner: config.innerSize, state: config.stateSize };
  const hidden = step.input(`scan_${layer}_h`, 'float32', shape);
  const unsqueezed = (name: string, width: number) => {
    const value = step.input(`scan_${layer}_${name}`, 'float32', [token.batch, width]);
    return step.op('Unsqueeze', [value, step.int64s([1])]);
  };
  const scanned = {
    dt: unsqueezed('dt', token.inner),
    input: unsqueezed('input', token.inner),
    b: unsqueezed('b', token.state),
    c: unsqueezed('c', token.state),
  };
  const hiddenNext = `scan_${layer}_h_next`;
  const y = scanStep(step, { ...scanned, decay, past: hidden, next: hiddenNext });
  const row = step.op('Squeeze', [y, step.int64s([1])]);
  step.output(hiddenNext, 'float32', shape);
  step.output(row, 'float32', [token.batch, token.inner]);

  const read = `layers.${layer}.read`;
  graph.node('Scan', [past, dt, input, b, c], [next, read], {
    body: body(step.graph()),
    num_scan_inputs: int(4),
    scan_input_axes: ints(1, 1, 1, 1),
    scan_output_axes: ints(1),
  });
  return read;
}

interface ScanStep extends ScanInputs {
  /** A, [N, D] */
  readonly decay: Value;
  readonly past: Value;
  /** The name of the next state, which this writes. */
  readonly next: Value;
}

/** One token: dt and input [B, 1, D], b and c [B, 1, N] → [B, 1, D]. */
function scanStep(graph: GraphBuilder, { dt, input, b, c, decay, past, next }: ScanStep): Value {
  const kept = graph.op('Mul', [graph.op('Exp', [graph.op('Mul', [dt, decay])]), past]);
  const column = graph.op('Transpose', [b], { perm: ints(0, 2, 1) });
  graph.node('Add', [kept, graph.op('Mul', [input, column])], [next]);
  return graph.op('MatMul', [c, next]);
}
