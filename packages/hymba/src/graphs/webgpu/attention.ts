import { int, ints, type Value } from '../../onnx/index.ts';
import { asCached, weight } from '../context.ts';
import { graphNames } from '../contract.ts';
import { type GpuContext, gpuSizes } from './context.ts';
import type { GpuKind } from './kinds.ts';

/**
 * Writes the new tokens' rotated keys [B, T, Hkv·Dk] and values [B, T, Hkv·Dv] into a cache: output and input are the same
 * memory where the caller says so, and then nothing else is copied.
 */
export function writeCache(
  context: GpuContext,
  cache: number,
  { keys, values, kind }: { readonly keys: Value; readonly values: Value; readonly kind: GpuKind },
): void {
  const { graph, config, decode } = context;
  const { kvHeads, keySize, valueSize } = config;
  const { batch } = gpuSizes(context);
  const rows = `P_${config.caches[cache]?.kind}`;
  const headRows = (x: Value, width: number, ...perm: number[]) => {
    const [, , ...last] = perm;
    if (decode)
      return graph.op('Reshape', [
        x,
        graph.int64s([0, kvHeads, ...(last[0] === 3 ? [width, 1] : [1, width])]),
      ]);
    const split = graph.op('Reshape', [x, graph.int64s([0, 0, kvHeads, width])]);
    return graph.op('Transpose', [split], { perm: ints(...perm) });
  };
  const write = (
    past: Value,
    indices: Value,
    updates: Value,
    next: Value,
    axis: number,
    dims: (number | string)[],
  ) => {
    graph.input(past, 'float32', [batch, kvHeads, ...dims]);
    graph.node('ScatterElements', [past, indices, updates], [next], { axis: int(axis) });
    graph.output(next, 'float32', [batch, kvHeads, ...dims]);
  };
  const newKeys = headRows(asCached(context, keys), keySize, 0, 2, 3, 1);
  const newValues = headRows(asCached(context, values), valueSize, 0, 2, 1, 3);
  write(graphNames.keyCache(cache), kind.keyRows, newKeys, graphNames.nextKeyCache(cache), 3, [
    keySize,
    rows,
  ]);
  write(graphNames.valueCache(cache), kind.valueRows, newValues, graphNames.nextValueCache(cache), 2, [
    rows,
    valueSize,
  ]);
}

/** Rotates the heads packed in x [B, T, heads·Dk]; queries leave it scaled, by tables that are. */
export function gpuRotate(context: GpuContext, x: Value, of: 'queries' | 'keys'): Value {
  const { graph, config } = context;
  const scale = 1 / Math.sqrt(config.keySize);
  const tables = ['rope.cos', 'rope.sin'].map((name) => {
    const table = weight(context, name);
    return of === 'queries' ? graph.op('Mul', [table, graph.float32(scale)]) : table;
  });
  return graph.op('com.microsoft.RotaryEmbedding', [x, graphNames.positionIds, ...tables], {
    num_heads: int(of === 'queries' ? config.heads : config.kvHeads),
  });
}

/**
 * Grouped-query attention of rotated, scaled queries [B, T, heads·Dk] over a cache that holds the new tokens already
 * → [B, T, D]. The query heads of one KV head are folded into one axis.
 */
export function gpuAttention(context: GpuContext, queries: Value, cache: number, kind: GpuKind): Value {
  const { graph } = context;
  const folded = foldQueries(context, queries);
  const scores = graph.op('MatMul', [folded, graphNames.nextKeyCache(cache)]);
  const probabilities = graph.op('Softmax', [graph.op('Add', [scores, kind.bias])], { axis: int(-1) });
  return unfoldHeads(context, graph.op('MatMul', [probabilities, graphNames.nextValueCache(cache)]));
}

/** [B, T, heads·Dk] → [B, Hkv, T·G, Dk] */
function foldQueries({ graph, decode, config }: GpuContext, queries: Value): Value {
  const { kvHeads, keySize } = config;
  const group = config.heads / kvHeads;
  if (decode) return graph.op('Reshape', [queries, graph.int64s([0, kvHeads, group, keySize])]);
  const split = graph.op('Reshape', [queries, graph.int64s([0, 0, kvHeads, group, keySize])]);
  const perHead = graph.op('Transpose', [split], { perm: ints(0, 2, 1, 3, 4) });
  return graph.op('Reshape', [perHead, graph.int64s([0, 0, -1, keySize])]);
}

/** [B, Hkv, T·G, Dv] → [B, T, D] */
function unfoldHeads({ graph, decode, config }: GpuContext, x: Value): Value {
  const { kvHeads, valueSize, innerSize } = config;
  const group = config.heads / kvHeads;
  if (decode) return graph.op('Reshape', [x, graph.int64s([0, 1, innerSize])]);
  const split = graph.op('Reshape', [x, graph.int64s([0, 0, -1, group, valueSize])]);
  const perToken = graph.op('Transpose', [split], { perm: ints(0, 2, 1, 3, 4) });
  return graph.op('Reshape', [perToken, graph.int64s([0, 0, innerSize])]);
}
