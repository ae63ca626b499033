import type { KvCacheSpec } from '../../config.ts';
import { int, ints, type Value } from '../../onnx/index.ts';
import { graphNames, maskedBias } from '../contract.ts';
import { type GpuContext, gpuSizes } from './context.ts';

/** What all caches of one kind share in a pass. */
export interface GpuKind {
  /** [B, 1, T·G, P], or [B, 1, 1, P] where T is 1: the bias of every query head that shares a KV head. */
  readonly bias: Value;
  /** Where new keys go, int32 [B, Hkv, Dk, T]. */
  readonly keyRows: Value;
  /** Where new values go, int32 [B, Hkv, T, Dv]. */
  readonly valueRows: Value;
}

/** Inputs and masks of a kind. The masks are made on the GPU, of the positions that the caches' rows hold. */
export function gpuKind(context: GpuContext, kind: KvCacheSpec['kind']): GpuKind {
  const { graph, config, decode } = context;
  const { batch, tokens } = gpuSizes(context);
  const { kvHeads, keySize, valueSize } = config;
  const rows = graph.input(graphNames.cacheRows(kind), 'int32', [batch, tokens]);
  const held = graph.input(graphNames.held(kind), 'float32', [batch, `P_${kind}`]);
  const next = graphNames.nextHeld(kind);
  graph.node('ScatterElements', [held, rows, graphNames.positions], [next], { axis: int(1) });
  graph.output(next, 'float32', [batch, `P_${kind}`]);

  const spread = (axes: readonly number[], shape: readonly number[]) =>
    graph.op('Expand', [graph.op('Unsqueeze', [rows, graph.int64s(axes)]), graph.int64s(shape)]);
  const bias = graph.op('Unsqueeze', [biasOf(context, kind, next), graph.int64s([1])]);
  return {
    bias: decode ? bias : forGroups(context, bias),
    keyRows: spread([1, 2], [1, kvHeads, keySize, 1]),
    valueRows: spread([1, 3], [1, kvHeads, 1, valueSize]),
  };
}

/** [B, T, P]: 0 where a query sees a row and `maskedBias` or a multiple of it elsewhere. */
function biasOf({ graph, config }: GpuContext, kind: KvCacheSpec['kind'], held: Value): Value {
  const { slidingWindow, metaTokens } = config;
  const queries = graph.op('Unsqueeze', [graphNames.positions, graph.int64s([2])]);
  const keys = graph.op('Unsqueeze', [held, graph.int64s([1])]);
  const ahead = graph.op('Relu', [graph.op('Sub', [keys, queries])]);
  const masked = graph.float32(maskedBias);
  if (kind === 'global' || slidingWindow === null) return graph.op('Mul', [ahead, masked]);
  const age = graph.op('Sub', [queries, keys]);
  const tooOld = graph.op('Relu', [graph.op('Sub', [age, graph.float32(slidingWindow)])]);
  const notMeta = graph.op('Relu', [graph.op('Sub', [keys, graph.float32(metaTokens - 1)])]);
  const left = graph.op('Mul', [tooOld, notMeta]);
  return graph.op('Mul', [graph.op('Add', [ahead, left]), masked]);
}

/** [1, 1, T, P] → [1, 1, T·G, P] */
function forGroups({ graph, config }: GpuContext, bias: Value): Value {
  const group = config.heads / config.kvHeads;
  const perToken = graph.op('Transpose', [bias], { perm: ints(0, 2, 1, 3) });
  const repeated = graph.op('Expand', [perToken, graph.int64s([1, 1, group, 1])]);
  return graph.op('Reshape', [repeated, graph.int64s([1, 1, -1, 0])]);
}
