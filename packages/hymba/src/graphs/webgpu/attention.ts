import type { KvCacheSpec } from '../../config.ts';
import { int, ints, type Value } from '../../onnx/index.ts';
import type { GraphContext } from '../context.ts';
import { graphNames } from '../contract.ts';

/** P, the rows of the caches of a kind: of what works on shapes WebGPU has only the operator that reads one. */
export function cachedRows({ graph, config }: GraphContext, kind: KvCacheSpec['kind']): Value {
  const cache = config.caches.findIndex((spec) => spec.kind === kind);
  return graph.op('Shape', [graphNames.keyCache(cache)], { start: int(2), end: int(3) });
}

/** [.., P + T] → [.., P] and [.., T] */
export function cutAt({ graph }: GraphContext, probabilities: Value, rows: Value): [Value, Value] {
  const axis = graph.int64s([-1]);
  const end = graph.int64s([Number.MAX_SAFE_INTEGER]);
  return [
    graph.op('Slice', [probabilities, graph.int64s([0]), rows, axis]),
    graph.op('Slice', [probabilities, rows, end, axis]),
  ];
}

/** Declares where the new tokens' rows go in the caches of a kind. */
export function cacheRowsInput({ graph, config }: GraphContext, kind: KvCacheSpec['kind']): void {
  graph.input(graphNames.cacheRows(kind), 'int64', [1, config.kvHeads, 'T', 3]);
}

/** The caches after the new tokens: they never leave the GPU, so the graph itself writes the rows into them. */
export function nextCaches({ graph, config }: GraphContext, cache: number, kind: KvCacheSpec['kind']): void {
  const { kvHeads, keySize, valueSize } = config;
  const write = (past: Value, rows: Value, next: Value, width: number) => {
    graph.node('ScatterND', [past, graphNames.cacheRows(kind), rows], [next]);
    graph.output(next, 'float32', [1, kvHeads, `P_${kind}`, width]);
  };
  write(graphNames.keyCache(cache), graphNames.newKeys(cache), graphNames.nextKeyCache(cache), keySize);
  write(
    graphNames.valueCache(cache),
    graphNames.newValues(cache),
    graphNames.nextValueCache(cache),
    valueSize,
  );
}

/**
 * Scores [1, Hkv, T·G, P] of folded queries [1, Hkv, T·G, Dk] over keys [1, Hkv, P, Dk]. WebGPU's product does not
 * transpose, and to transpose the queries and the scores moves much less than to transpose a cache.
 */
export function scoresOf({ graph, config }: GraphContext, queries: Value, keys: Value): Value {
  const turned = { perm: ints(0, 1, 3, 2) };
  const scaled = graph.op('Mul', [queries, graph.float32(1 / Math.sqrt(config.keySize))]);
  return graph.op('Transpose', [graph.op('MatMul', [keys, graph.op('Transpose', [scaled], turned)])], turned);
}
