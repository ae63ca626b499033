import type { HymbaConfig } from '../config.ts';
import type { KvCacheForm } from '../kv-cache-form.ts';
import { float, type GraphBuilder, int, type Value } from '../onnx/index.ts';
import type { WeightLayout } from '../weights/layout.ts';
import type { GraphMode } from './contract.ts';
import { blocksGather, blocksLinear, rowsLinear } from './quantised.ts';

/** What decides what a model's graphs compute. */
export interface GraphModel {
  readonly config: HymbaConfig;
  readonly layout: WeightLayout;
  readonly kvCache: KvCacheForm;
}

/** What every graph is built from. */
export interface ModelContext extends GraphModel {
  readonly graph: GraphBuilder;
}

/** What every part of a graph for the CPU is built from. */
export interface GraphContext extends ModelContext {
  readonly mode: GraphMode;
}

/** Symbolic sizes of the graphs' inputs and outputs. */
export function sizes(mode: GraphMode) {
  return mode === 'decode' ? ({ batch: 'B', tokens: 1 } as const) : ({ batch: 1, tokens: 'T' } as const);
}

/** New keys or values as they are attended to and cached: rounded, and float32 again. */
export function asCached({ graph, kvCache }: ModelContext, x: Value): Value {
  return kvCache === 'float32' ? x : graph.cast(graph.cast(x, kvCache), 'float32');
}

export function weight({ graph, layout }: ModelContext, name: string): Value {
  return graph.external(layout.get(name));
}

/**
 * x [.., in] → [.., out], with the weight [out, in] as checkpoints have it, plus the bias [out] called `biasName`: the one
 * place that knows a linear's form.
 */
export function linear(context: GraphContext, x: Value, name: string, biasName?: string): Value {
  const { graph, layout } = context;
  const stored = layout.find(name);
  const bias = biasName === undefined ? null : weight(context, biasName);
  if (stored.encoding.kind === 'blocks') return blocksLinear(graph, x, stored, stored.encoding, bias);
  let product: Value;
  if (stored.encoding.kind === 'rows') product = rowsLinear(graph, x, stored);
  else product = graph.op('com.microsoft.FusedMatMul', [x, weight(context, name)], { transB: int(1) });
  return bias === null ? product : graph.op('Add', [product, bias]);
}

/** The embedding's rows [.., H] of ids [..]. */
export function embed({ graph, layout }: ModelContext, ids: Value): Value {
  const stored = layout.find('embedding');
  if (stored.encoding.kind === 'blocks') return blocksGather(graph, ids, stored, stored.encoding);
  return graph.op('Gather', [graph.external(stored.data), ids]);
}

export function rmsNorm(context: GraphContext, x: Value, name: string): Value {
  return context.graph.op('SimplifiedLayerNormalization', [x, weight(context, name)], {
    axis: int(-1),
    epsilon: float(context.config.normEpsilon),
  });
}

/** `sum = x + update` and its norm, in one pass over them. */
export function addAndNorm(
  { graph, config, layout }: GraphContext,
  { x, update }: { readonly x: Value; readonly update: Value },
  name: string,
): { readonly sum: Value; readonly normed: Value } {
  const [normed, sum] = [`${name}.normed`, `${name}.sum`];
  const inputs = [x, update, graph.external(layout.get(name))];
  // Between the two are outputs that only training asks for.
  graph.node('com.microsoft.SkipSimplifiedLayerNormalization', inputs, [normed, '', '', sum], {
    epsilon: float(config.normEpsilon),
  });
  return { sum, normed };
}

/** log(1 + exp(x)) */
export function softplus({ graph }: ModelContext, x: Value): Value {
  // The CPU's own operator takes three times as long. Beyond 30 the logarithm is x itself, and exp must not overflow.
  const exponential = graph.op('Exp', [graph.op('Min', [x, graph.float32(30)])]);
  const logarithm = graph.op('Log', [graph.op('Add', [exponential, graph.float32(1)])]);
  return graph.op('Max', [x, logarithm]);
}

/** x · sigmoid(x) */
export function silu({ graph }: ModelContext, x: Value): Value {
  return graph.op('com.microsoft.QuickGelu', [x], { alpha: float(1) });
}
