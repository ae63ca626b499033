import { GraphBuilder, type Value } from '../onnx/index.ts';
import { attention, type KindInputs, kindInputs, newRows, rotate } from './attention.ts';
import {
  addAndNorm,
  embed,
  type GraphContext,
  type GraphModel,
  linear,
  rmsNorm,
  silu,
  sizes,
} from './context.ts';
import { type GraphMode, type GraphName, graphNames } from './contract.ts';
import { mamba } from './mamba.ts';
import { buildGpuGraph } from './webgpu/build.ts';

/** The bytes of an ONNX model with the interface of `graphNames`; its weights lie in the layout's file beside it. */
export function buildGraph(mode: GraphName, model: GraphModel): Uint8Array {
  return mode === 'prefill' || mode === 'decode' ? buildCpuGraph(mode, model) : buildGpuGraph(mode, model);
}

function buildCpuGraph(mode: GraphMode, model: GraphModel): Uint8Array {
  const graph = new GraphBuilder(mode);
  const { config } = model;
  const context: GraphContext = { ...model, graph, mode };
  const { batch, tokens } = sizes(mode);
  const ids = graph.input(graphNames.inputIds, 'int64', [batch, tokens]);
  graph.input(graphNames.positionIds, 'int64', [batch, tokens]);
  const rows = graph.input(graphNames.logitRows, 'int64', ['R']);
  const kinds = cacheInputs(context);

  let x = embed(context, ids);
  let normed = rmsNorm(context, x, 'layers.0.input_norm');
  for (let layer = 0; layer < config.layers; layer++) {
    const mixed = mixer(context, layer, normed, kinds);
    const { sum, normed: between } = addAndNorm(context, { x, update: mixed }, `layers.${layer}.mlp_norm`);
    const update = mlp(context, layer, between);
    if (layer === config.layers - 1) x = graph.op('Add', [sum, update]);
    else ({ sum: x, normed } = addAndNorm(context, { x: sum, update }, `layers.${layer + 1}.input_norm`));
  }

  const flat = graph.op('Reshape', [x, graph.int64s([-1, config.hiddenSize])]);
  const wanted = rmsNorm(context, graph.op('Gather', [flat, rows]), 'final_norm');
  const logits = linear(context, wanted, 'head');
  graph.node('Reshape', [logits, graph.int64s([-1, config.vocabularySize])], [graphNames.logits]);
  graph.output(graphNames.logits, 'float32', ['R', config.vocabularySize]);
  return graph.model();
}

type Kinds = ReadonlyMap<string, KindInputs>;

function cacheInputs(context: GraphContext): Kinds {
  const { graph, mode, config } = context;
  const { batch } = sizes(mode);
  const kinds = new Map<string, KindInputs>();
  for (const [cache, { kind }] of config.caches.entries()) {
    if (!kinds.has(kind)) kinds.set(kind, kindInputs(context, kind));
    graph.input(graphNames.keyCache(cache), 'float32', [batch, config.kvHeads, `P_${kind}`, config.keySize]);
    const values = [config.valueSize, `P_${kind}`];
    graph.input(graphNames.valueCache(cache), 'float32', [batch, config.kvHeads, ...values]);
  }
  return kinds;
}

/** Attention and Mamba side by side over the same x [B, T, H] → [B, T, H]. */
function mixer(context: GraphContext, layer: number, x: Value, kinds: Kinds): Value {
  const { graph, config } = context;
  const { heads, kvHeads, keySize, valueSize, hiddenSize, innerSize } = config;
  const of = (name: string) => `layers.${layer}.${name}`;
  const cache = config.caches.findIndex(({ layers }) => layers.includes(layer));
  const spec = config.caches[cache];
  const kind = kinds.get(spec?.kind ?? '');
  if (!spec || !kind) throw new RangeError(`layer ${layer} has no KV cache`);

  const projected = linear(context, x, of('in_proj'));
  let queries: Value;
  let inner: Value;
  let gate: Value;
  if (spec.layers[0] === layer) {
    const keyWidth = kvHeads * keySize;
    const parts = graph.split(projected, [
      hiddenSize + keyWidth,
      kvHeads * valueSize,
      innerSize,
      innerSize,
    ] as const);
    const rotated = rotate(context, parts[0], heads + kvHeads);
    const [q, k] = graph.split(rotated, [hiddenSize, keyWidth]);
    newRows(context, cache, k, parts[1]);
    [queries, inner, gate] = [q, parts[2], parts[3]];
  } else {
    const parts = graph.split(projected, [hiddenSize, innerSize, innerSize] as const);
    [queries, inner, gate] = [rotate(context, parts[0], heads), parts[1], parts[2]];
  }
  const attended = rmsNorm(context, attention(context, queries, cache, kind), of('attention_norm'));
  const scanned = rmsNorm(context, mamba(context, layer, inner, gate), of('mamba_norm'));
  const mean = graph.op('Mul', [graph.op('Add', [attended, scanned]), graph.float32(0.5)]);
  return linear(context, mean, of('out_proj'));
}

function mlp(context: GraphContext, layer: number, x: Value): Value {
  const { graph, config } = context;
  const of = (name: string) => `layers.${layer}.${name}`;
  if (config.activation === 'relu2') {
    const positive = graph.op('Relu', [linear(context, x, of('up_proj'))]);
    return linear(context, graph.op('Mul', [positive, positive]), of('down_proj'));
  }
  const width = config.intermediateSize;
  const [gate, up] = graph.split(linear(context, x, of('gate_up_proj')), [width, width]);
  return linear(context, graph.op('Mul', [silu(context, gate), up]), of('down_proj'));
}
