import type { KvCacheSpec } from '../config.ts';
import { float, int, ints, type Value } from '../onnx/index.ts';
import { asCached, type GraphContext, sizes, weight } from './context.ts';
import { graphNames } from './contract.ts';

/** What all caches of one kind share in a pass. */
export interface KindInputs {
  /** [B, 1, T·G, P + T], or [B, 1, 1, P + T] where T is 1: the bias of every query head that shares a KV head. */
  readonly bias: Value;
  /** Where to cut probabilities into those of cached and of new keys: the sizes P and T. */
  readonly cut: Value;
}

export function kindInputs(context: GraphContext, kind: KvCacheSpec['kind']): KindInputs {
  const { graph, mode, config } = context;
  const { batch, tokens } = sizes(mode);
  const input = graph.input(graphNames.bias(kind), 'float32', [batch, 1, tokens, `S_${kind}`]);
  const cut = cachedAndNew(context, input);
  if (mode === 'decode') return { bias: input, cut };

  const group = config.heads / config.kvHeads;
  const perToken = graph.op('Transpose', [input], { perm: ints(0, 2, 1, 3) });
  const repeated = graph.op('Expand', [perToken, graph.int64s([1, 1, group, 1])]);
  return { bias: graph.op('Reshape', [repeated, graph.int64s([1, 1, -1, 0])]), cut };
}

/** P and T, of a bias [B, 1, T, P + T]. */
function cachedAndNew({ graph }: GraphContext, bias: Value): Value {
  const span = graph.op('Shape', [bias], { start: int(3), end: int(4) });
  const count = graph.op('Shape', [bias], { start: int(2), end: int(3) });
  return graph.op('Concat', [graph.op('Sub', [span, count]), count], { axis: int(0) });
}

/** Rotates the heads packed in x [B, T, heads·Dk]: element i of a head's first half with element i of its second. */
export function rotate(context: GraphContext, x: Value, heads: number): Value {
  const tables = [weight(context, 'rope.cos'), weight(context, 'rope.sin')];
  return context.graph.op('com.microsoft.RotaryEmbedding', [x, graphNames.positionIds, ...tables], {
    num_heads: int(heads),
  });
}

/**
 * The rows that new tokens add to a cache, from rotated keys [B, T, Hkv·Dk] and values [B, T, Hkv·Dv]; they become the
 * outputs of the graph, and the keys and values that all layers of the cache's group attend to.
 */
export function newRows(context: GraphContext, cache: number, keys: Value, values: Value): void {
  const { config } = context;
  headRows(context, asCached(context, keys), config.keySize, graphNames.newKeys(cache));
  headRows(context, asCached(context, values), config.valueSize, graphNames.newValues(cache));
}

function headRows({ graph, mode, config }: GraphContext, x: Value, width: number, output: Value): void {
  const { batch, tokens } = sizes(mode);
  const { kvHeads } = config;
  if (mode === 'decode') {
    graph.node('Reshape', [x, graph.int64s([0, kvHeads, 1, width])], [output]);
  } else {
    const split = graph.op('Reshape', [x, graph.int64s([0, 0, kvHeads, width])]);
    graph.node('Transpose', [split], [output], { perm: ints(0, 2, 1, 3) });
  }
  graph.output(output, 'float32', [batch, kvHeads, tokens, width]);
}

/**
 * Grouped-query attention of rotated queries [B, T, heads·Dk] over a cache and the new tokens → [B, T, D]. Cached and new
 * keys are scored apart, so that the cache is read where it lies. The query heads of one KV head are folded into one
 * axis: each KV head is then one matrix product instead of one for each query head.
 */
export function attention(context: GraphContext, queries: Value, cache: number, kind: KindInputs): Value {
  const { graph } = context;
  const folded = foldQueries(context, queries);
  const scores = scoresOf(context, folded, cache);
  const probabilities = graph.op('Softmax', [graph.op('Add', [scores, kind.bias])], { axis: int(-1) });
  const [ofCache, ofNew] = graph.splitAt(probabilities, kind.cut);
  const read = graph.op('Add', [
    readCache(context, ofCache, graphNames.valueCache(cache)),
    graph.op('MatMul', [ofNew, graphNames.newValues(cache)]),
  ]);
  return unfoldHeads(context, read);
}

/** Folded queries [B, Hkv, T·G, Dk] and a cache's index → scores [B, Hkv, T·G, P + T], without a bias. */
function scoresOf({ graph, config }: GraphContext, queries: Value, cache: number): Value {
  const scaled = { transB: int(1), alpha: float(1 / Math.sqrt(config.keySize)) };
  const parts = [graphNames.keyCache(cache), graphNames.newKeys(cache)].map((keys) =>
    graph.op('com.microsoft.FusedMatMul', [queries, keys], scaled),
  );
  return graph.op('Concat', parts, { axis: int(-1) });
}

/** Probabilities [B, Hkv, T·G, P] and a cache's values [B, Hkv, Dv, P] → [B, Hkv, T·G, Dv]. */
function readCache({ graph, mode, config }: GraphContext, probabilities: Value, values: Value): Value {
  if (mode === 'prefill')
    return graph.op('com.microsoft.FusedMatMul', [probabilities, values], { transB: int(1) });
  // A product repacks its right side, so the few rows of a step stand there and the values are read once, as they lie.
  const read = graph.op('com.microsoft.FusedMatMul', [values, probabilities], { transB: int(1) });
  // Transposed by a product: unlike the operator for it, that shares the heads out among threads, as what wrote them did.
  const { valueSize } = config;
  const zeros = graph.op('Expand', [graph.float32(0), graph.int64s([valueSize, valueSize])]);
  const identity = graph.op('EyeLike', [zeros]);
  return graph.op('com.microsoft.FusedMatMul', [read, identity], { transA: int(1) });
}

/** [B, T, heads·Dk] → [B, Hkv, T·G, Dk] */
function foldQueries({ graph, mode, config }: GraphContext, queries: Value): Value {
  const { kvHeads, keySize } = config;
  const group = config.heads / kvHeads;
  if (mode === 'decode') return graph.op('Reshape', [queries, graph.int64s([0, kvHeads, group, keySize])]);
  const split = graph.op('Reshape', [queries, graph.int64s([0, 0, kvHeads, group, keySize])]);
  const perHead = graph.op('Transpose', [split], { perm: ints(0, 2, 1, 3, 4) });
  return graph.op('Reshape', [perHead, graph.int64s([0, 0, -1, keySize])]);
}

/** [B, Hkv, T·G, Dv] → [B, T, D] */
function unfoldHeads({ graph, mode, config }: GraphContext, x: Value): Value {
  const { kvHeads, valueSize, innerSize } = config;
  const group = config.heads / kvHeads;
  if (mode === 'decode') return graph.op('Reshape', [x, graph.int64s([0, 1, innerSize])]);
  const split = graph.op('Reshape', [x, graph.int64s([0, 0, -1, group, valueSize])]);
  const perToken = graph.op('Transpose', [split], { perm: ints(0, 2, 1, 3, 4) });
  return graph.op('Reshape', [perToken, graph.int64s([0, 0, innerSize])]);
}
