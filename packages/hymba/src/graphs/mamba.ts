import { GraphBuilder, int, ints, graph as subgraph, type Value } from '../onnx/index.ts';
import { type GraphContext, linear, rmsNorm, silu, sizes, softplus, weight } from './context.ts';
import { graphNames } from './contract.ts';

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
  const dtNormed = rmsNorm(context, dtLow, of('dt_norm'));
  const dt = softplus(context, linear(context, dtNormed, of('dt_proj'), of('dt_bias')));
  const read = scan(context, layer, {
    dt,
    input: graph.op('Mul', [u, dt]),
    b: rmsNorm(context, b, of('b_norm')),
    c: rmsNorm(context, c, of('c_norm')),
  });
  const y = graph.op('Add', [read, graph.op('Mul', [u, weight(context, of('skip'))])]);
  return graph.op('Mul', [y, silu(context, gate)]);
}

/**
 * Causal depthwise convolution of x [B, T, D] with bias, then SiLU. The CPU's own operator for this takes several times as
 * long as a product and a sum for each of the few taps.
 */
function convolution(context: GraphContext, layer: number, x: Value): Value {
  const { graph, mode, config } = context;
  const { innerSize, convKernel } = config;
  const shape = [sizes(mode).batch, convKernel - 1, innerSize];
  const past = graph.input(graphNames.conv(layer), 'float32', shape);
  const next = graphNames.newConv(layer);
  graph.output(next, 'float32', shape);
  const whole = graph.op('Concat', [past, x], { axis: int(1) });
  const axis = graph.int64s([1]);
  const toEnd = graph.int64s([Number.MAX_SAFE_INTEGER]);
  graph.node('Slice', [whole, graph.int64s([1 - convKernel]), toEnd, axis], [next]);
  // [D, 1, K] → [K, D]; the runtime does this once, when it opens the graph.
  const weights = weight(context, `layers.${layer}.conv`);
  const taps = graph.op('Transpose', [graph.op('Reshape', [weights, graph.int64s([innerSize, convKernel])])]);
  let sum: Value;
  if (mode === 'decode') {
    // Half the time of a sum over the axis.
    const ones = graph.op('Expand', [graph.float32(1), graph.int64s([1, 1, convKernel])]);
    sum = graph.op('MatMul', [ones, graph.op('Mul', [whole, taps])]);
  } else {
    const products = Array.from({ length: convKernel }, (_, tap) => {
      const end = tap === convKernel - 1 ? toEnd : graph.int64s([tap - convKernel + 1]);
      const inputs = graph.op('Slice', [whole, graph.int64s([tap]), end, axis]);
      return graph.op('Mul', [inputs, graph.op('Gather', [taps, graph.int64s([tap])])]);
    });
    sum = products.reduce((a, b) => graph.op('Add', [a, b]));
  }
  return silu(context, graph.op('Add', [sum, weight(context, `layers.${layer}.conv_bias`)]));
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

/** The selective scan: `h ← exp(dt · A) h + dt · u · B`, read as `C h`, with h [B, N, D] → [B, T, D]. */
function scan(context: GraphContext, layer: number, inputs: ScanInputs): Value {
  const { graph, mode, config } = context;
  const shape = [sizes(mode).batch, config.stateSize, config.innerSize];
  const past = graph.input(graphNames.ssm(layer), 'float32', shape);
  const next = graphNames.newSsm(layer);
  graph.output(next, 'float32', shape);
  const decay = weight(context, `layers.${layer}.decay`);
  const scanTokens = mode === 'decode' ? scanOne : scanMany;
  return scanTokens(context, layer, { ...inputs, decay, past, next });
}

interface ScanWithState extends ScanInputs {
  /** A, [N, D] */
  readonly decay: Value;
  readonly past: Value;
  /** The name of the next state, which this writes. */
  readonly next: Value;
}

/** One token of each sequence. */
function scanOne(
  { graph }: GraphContext,
  _layer: number,
  { dt, input, b, c, decay, past, next }: ScanWithState,
): Value {
  const kept = graph.op('Mul', [graph.op('Exp', [graph.op('Mul', [dt, decay])]), past]);
  const column = graph.op('Transpose', [b], { perm: ints(0, 2, 1) });
  graph.node('Add', [kept, graph.op('Mul', [input, column])], [next]);
  return graph.op('MatMul', [c, next]);
}

/** The tokens of one sequence, one after another: the body sees one of them, and the state without its batch axis. */
function scanMany(
  { graph, config }: GraphContext,
  layer: number,
  { dt, input, b, c, decay, past, next }: ScanWithState,
): Value {
  const { stateSize, innerSize } = config;
  const name = (value: string) => `scan_${layer}_${value}`;
  const body = new GraphBuilder(`scan_${layer}`);
  const state = body.input(name('h'), 'float32', [stateSize, innerSize]);
  const dtRow = body.input(name('dt'), 'float32', [1, innerSize]);
  const inputRow = body.input(name('input'), 'float32', [1, innerSize]);
  const bRow = body.input(name('b'), 'float32', [1, stateSize]);
  const cRow = body.input(name('c'), 'float32', [1, stateSize]);
  const kept = body.op('Mul', [body.op('Exp', [body.op('Mul', [dtRow, decay])]), state]);
  // Adds the outer product of B and the input in the same pass over the state.
  body.node('Gemm', [bRow, inputRow, kept], [name('h_next')], { transA: int(1) });
  body.node('MatMul', [cRow, name('h_next')], [name('y')]);
  body.output(name('h_next'), 'float32', [stateSize, innerSize]);
  body.output(name('y'), 'float32', [1, innerSize]);

  const first = graph.op('Reshape', [past, graph.int64s([stateSize, innerSize])]);
  const [last, read] = [`layers.${layer}.h`, `layers.${layer}.read`];
  graph.node('Scan', [first, dt, input, b, c], [last, read], {
    body: subgraph(body.graph()),
    num_scan_inputs: int(4),
    scan_input_axes: ints(1, 1, 1, 1),
    scan_output_axes: ints(1),
  });
  graph.node('Reshape', [last, graph.int64s([1, stateSize, innerSize])], [next]);
  return read;
}
