import { GraphBuilder, type Value } from '../../onnx/index.ts';
import { embed, type GraphModel, silu } from '../context.ts';
import { type GpuMode, graphNames } from '../contract.ts';
import { gpuAttention, gpuRotate, writeCache } from './attention.ts';
import { type GpuContext, gpuSizes } from './context.ts';
import { type GpuKind, gpuKind } from './kinds.ts';
import { fastOutputs, gpuLinear, padded, residualWidth } from './linear.ts';
import { gpuMamba } from './mamba.ts';
import { addAndNorm, gpuNorm } from './norm.ts';

/**
 * The bytes of an ONNX model for WebGPU. A pass costs a few microseconds for every operator, however small, so the graph is
 * built to have few of them.
 */
export function buildGpuGraph(mode: GpuMode, model: GraphModel): Uint8Array {
  const graph = new GraphBuilder(mode);
  const { config, layout } = model;
  const width = residualWidth(layout, config.hiddenSize);
  const context: GpuContext = { ...model, graph, width, decode: mode === 'webgpuDecode' };
  const kinds = sharedInputs(context);

  const { vocabularySize, hiddenSize, layers } = config;
  let sum = padded(graph, embed(context, graphNames.inputIds), [0, 0, 0, 0, 0, width - hiddenSize]);
  let normed = gpuNorm(context, sum, 'layers.0.input_norm');
  for (let layer = 0; layer < layers; layer++) {
    const mixed = mixer(context, layer, normed, kinds);
    ({ sum, normed } = addAndNorm(context, sum, mixed, `layers.${layer}.mlp_norm`));
    const inner = mlp(context, layer, normed);
    if (layer + 1 < layers) {
      ({ sum, normed } = addAndNorm(context, sum, inner, `layers.${layer + 1}.input_norm`));
    } else sum = graph.op('Add', [sum, inner]);
  }

  const flat = graph.op('Reshape', [sum, graph.int64s([-1, width])]);
  const wanted = gpuNorm(context, graph.op('Gather', [flat, graphNames.logitRows]), 'final_norm');
  const outputs = fastOutputs(context, 'head', vocabularySize);
  const rows = graph.op('Unsqueeze', [wanted, graph.int64s([context.decode ? 1 : 0])]);
  const logits = graph.op('Reshape', [
    gpuLinear(context, rows, 'head', { inputs: width, outputs }),
    graph.int64s([-1, outputs]),
  ]);
  if (outputs === vocabularySize) graph.node('Identity', [logits], [graphNames.logits]);
  else {
    const bounds = [0, vocabularySize, -1].map((at) => graph.int64s([at]));
    graph.node('Slice', [logits, ...bounds], [graphNames.logits]);
  }
  graph.output(graphNames.logits, 'float32', ['R', vocabularySize]);
  return graph.model();
}

type Kinds = ReadonlyMap<string, GpuKind>;

function sharedInputs(context: GpuContext): Kinds {
  const { graph, config } = context;
  const { batch, tokens } = gpuSizes(context);
  graph.input(graphNames.inputIds, 'int64', [batch, tokens]);
  graph.input(graphNames.positionIds, 'int64', [batch, tokens]);
  graph.input(graphNames.positions, 'float32', [batch, tokens]);
  graph.input(graphNames.logitRows, 'int64', ['R']);
  graph.input(graphNames.active, 'float32', [batch, 1, 1]);
  const rows = graph.input(graphNames.states, 'int32', [batch, 1]);
  const width = (config.convKernel - 1) * config.innerSize;
  graph.node('Expand', [rows, graph.int64s([1, width])], [graphNames.stateRows]);
  return new Map(
    [...new Set(config.caches.map(({ kind }) => kind))].map((kind) => [kind, gpuKind(context, kind)]),
  );
}

/** Attention and Mamba side by side over the same x [B, T, W] → [B, T, W]. */
function mixer(context: GpuContext, layer: number, x: Value, kinds: Kinds): Value {
  const { graph, config, width } = context;
  const { kvHeads, keySize, valueSize, hiddenSize, innerSize } = config;
  const of = (name: string) => `layers.${layer}.${name}`;
  const cache = config.caches.findIndex(({ layers }) => layers.includes(layer));
  const spec = config.caches[cache];
  const kind = kinds.get(spec?.kind ?? '');
  if (!spec || !kind) throw new RangeError(`layer ${layer} has no KV cache`);

  const projected = gpuLinear(context, x, of('in_proj'), { inputs: width });
  const own = spec.layers[0] === layer ? [kvHeads * keySize, kvHeads * valueSize] : [];
  const parts = graph.split(projected, [hiddenSize, ...own, innerSize, innerSize]);
  const [queries = '', keys = '', values = ''] = parts;
  const [inner = '', gate = ''] = parts.slice(-2);
  if (own.length > 0) writeCache(context, cache, { keys: gpuRotate(context, keys, 'keys'), values, kind });
  const attended = gpuAttention(context, gpuRotate(context, queries, 'queries'), cache, kind);
  const scanned = gpuMamba(context, layer, inner, gate);
  const mean = graph.op('Add', [
    gpuNorm(context, attended, of('attention_norm'), 0.5),
    gpuNorm(context, scanned, of('mamba_norm'), 0.5),
  ]);
  return gpuLinear(context, mean, of('out_proj'), { outputs: width });
}

function mlp(context: GpuContext, layer: number, x: Value): Value {
  const { graph, config, width } = context;
  const of = (name: string) => `layers.${layer}.${name}`;
  if (config.activation === 'relu2') {
    const positive = graph.op('Relu', [gpuLinear(context, x, of('up_proj'), { inputs: width })]);
    return gpuLinear(context, graph.op('Mul', [positive, positive]), of('down_proj'), { outputs: width });
  }
  const size = config.intermediateSize;
  const [gate, up] = graph.split(gpuLinear(context, x, of('gate_up_proj'), { inputs: width }), [size, size]);
  return gpuLinear(context, graph.op('Mul', [silu(context, gate), up]), of('down_proj'), { outputs: width });
}
