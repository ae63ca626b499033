import type { HymbaConfig } from '../../config.ts';
import { type Dimension, GraphBuilder } from '../../onnx/index.ts';
import { graphNames } from '../contract.ts';

/** A part of a session's state in WebGPU's graph: what it gives out as `next` is what the next pass takes as `past`. */
export interface WebGpuState {
  readonly past: string;
  readonly next: string;
  readonly dims: readonly Dimension[];
}

/** For each cache keys and values, then for each layer its convolution's and its scan's state. */
export function webGpuStates(config: HymbaConfig): WebGpuState[] {
  const { kvHeads, keySize, valueSize, convKernel, innerSize, stateSize } = config;
  const caches = config.caches.flatMap(({ kind }, cache) => {
    const rows = `P_${kind}`;
    return [
      {
        past: graphNames.keyCache(cache),
        next: graphNames.nextKeyCache(cache),
        dims: [1, kvHeads, rows, keySize],
      },
      {
        past: graphNames.valueCache(cache),
        next: graphNames.nextValueCache(cache),
        dims: [1, kvHeads, rows, valueSize],
      },
    ];
  });
  const recurrent = Array.from({ length: config.layers }, (_, layer) => [
    { past: graphNames.conv(layer), next: graphNames.newConv(layer), dims: [1, convKernel - 1, innerSize] },
    { past: graphNames.ssm(layer), next: graphNames.newSsm(layer), dims: [1, innerSize, stateSize, 1] },
  ]);
  return [...caches, ...recurrent.flat()];
}

/** The bytes of an ONNX model that gives each part of a state, under its name `next`, as it takes it: a way off the GPU. */
export function buildStateReader(config: HymbaConfig): Uint8Array {
  const graph = new GraphBuilder('read');
  for (const { past, next, dims } of webGpuStates(config)) {
    graph.node('Identity', [graph.input(past, 'float32', dims)], [next]);
    graph.output(next, 'float32', dims);
  }
  return graph.model();
}
