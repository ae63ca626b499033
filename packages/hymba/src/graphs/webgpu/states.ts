import type { HymbaConfig, KvCacheSpec } from '../../config.ts';
import { type Dimension, GraphBuilder, int } from '../../onnx/index.ts';
import { graphNames } from '../contract.ts';

/** A part of the state of S sequences as WebGPU's graphs take it and, under its name `next`, give it. */
export interface WebGpuState {
  readonly past: string;
  readonly next: string;
  /** Sizes after the first axis, which is the sequences'. */
  readonly dims: readonly Dimension[];
  /** What it is filled with before everything. */
  readonly blank: number;
  /** What its rows follow, and the axis of those rows in `dims`; null: it does not grow. */
  readonly grows: { readonly kind: KvCacheSpec['kind']; readonly axis: number } | null;
}

/** The position of a row that holds none: later than any query's, so that it is not seen. */
export const heldByNone = 2 ** 20;

/** The positions that rows hold, keys and values of each cache, and each layer's convolution and scan. */
export function webGpuStates(config: HymbaConfig): WebGpuState[] {
  const { kvHeads, keySize, valueSize, convKernel, innerSize, stateSize } = config;
  const kinds = [...new Set(config.caches.map(({ kind }) => kind))];
  const held = kinds.map((kind) => ({
    past: graphNames.held(kind),
    next: graphNames.nextHeld(kind),
    dims: [`P_${kind}`],
    blank: heldByNone,
    grows: { kind, axis: 0 },
  }));
  const caches = config.caches.flatMap(({ kind }, cache) => [
    {
      past: graphNames.keyCache(cache),
      next: graphNames.nextKeyCache(cache),
      dims: [kvHeads, keySize, `P_${kind}`],
      blank: 0,
      grows: { kind, axis: 2 },
    },
    {
      past: graphNames.valueCache(cache),
      next: graphNames.nextValueCache(cache),
      dims: [kvHeads, `P_${kind}`, valueSize],
      blank: 0,
      grows: { kind, axis: 1 },
    },
  ]);
  const recurrent = Array.from({ length: config.layers }, (_, layer) => [
    {
      past: graphNames.conv(layer),
      next: graphNames.newConv(layer),
      dims: [(convKernel - 1) * innerSize],
      blank: 0,
      grows: null,
    },
    {
      past: graphNames.ssm(layer),
      next: graphNames.newSsm(layer),
      dims: [innerSize, stateSize, 1],
      blank: 0,
      grows: null,
    },
  ]);
  return [...held, ...caches, ...recurrent.flat()];
}

/** Names of the inputs of the graphs that move states. */
export const moveNames = {
  /** int32 [1]: which of the sequences. */
  slot: 'slot',
  single: (past: string) => `single_${past}`,
} as const;

/** The bytes of an ONNX model that gives, of the states of S sequences, those of the one at `slot`: a way off the GPU. */
export function buildStateReader(config: HymbaConfig): Uint8Array {
  const graph = new GraphBuilder('read');
  const slot = graph.input(moveNames.slot, 'int32', [1]);
  for (const { past, next, dims } of webGpuStates(config)) {
    graph.node('Gather', [graph.input(past, 'float32', ['S', ...dims]), slot], [next], { axis: int(0) });
    graph.output(next, 'float32', [1, ...dims]);
  }
  return graph.model();
}

/** The bytes of an ONNX model that puts the states of one sequence to those of S, at `slot`. */
export function buildStateWriter(config: HymbaConfig): Uint8Array {
  const graph = new GraphBuilder('write');
  const slot = graph.input(moveNames.slot, 'int32', [1]);
  const shapes = new Map<string, string>();
  for (const { past, next, dims } of webGpuStates(config)) {
    const single = graph.input(moveNames.single(past), 'float32', [1, ...dims]);
    const rank = String(dims);
    const indices =
      shapes.get(rank) ??
      graph.op('Expand', [
        graph.op('Reshape', [slot, graph.int64s([1, ...dims.map(() => 1)])]),
        graph.op('Shape', [single]),
      ]);
    shapes.set(rank, indices);
    const all = graph.input(past, 'float32', ['S', ...dims]);
    graph.node('ScatterElements', [all, indices, single], [next], { axis: int(0) });
    graph.output(next, 'float32', ['S', ...dims]);
  }
  return graph.model();
}

/** The bytes of an ONNX model that gives a vector of `size` times `value`: memory on the GPU. */
export function buildFill(): Uint8Array {
  const graph = new GraphBuilder('fill');
  graph.node('Expand', [graph.input('value', 'float32', [1]), graph.input('size', 'int64', [1])], ['filled']);
  graph.output('filled', 'float32', ['N']);
  return graph.model();
}

/** The bytes of an ONNX model that gives `x` [A, B, C] with `pads` more of `value` around it. */
export function buildPad(): Uint8Array {
  const graph = new GraphBuilder('pad');
  const x = graph.input('x', 'float32', ['A', 'B', 'C']);
  graph.node('Pad', [x, graph.input('pads', 'int64', [6]), graph.input('value', 'float32', [])], ['padded']);
  graph.output('padded', 'float32', ['D', 'E', 'F']);
  return graph.model();
}
