import { graphNames, type HymbaConfig, type KvCacheSpec, webGpuStates } from '@baton/hymba';
import { Tensor } from 'onnxruntime-node';
import type { SequenceMemory } from '../state/session-state.ts';
import { sharedCopy, sharedFloats } from '../state/shared-floats.ts';
import type { SavedPart } from '../state/state-pool.ts';
import { GpuRows } from './gpu-rows.ts';

type Kind = KvCacheSpec['kind'];

/** A sequence's state as the graph takes it: tensors by the names of its inputs, on the GPU or on their way there. */
export interface GpuMemory {
  readonly rows: Readonly<Record<Kind, GpuRows>>;
  readonly tensors: ReadonlyMap<string, Tensor>;
}

/** A state before everything. */
export function blankMemory({
  layers,
  convKernel,
  innerSize,
  stateSize,
  ...config
}: HymbaConfig): SequenceMemory {
  const perLayer = (size: number) => Array.from({ length: layers }, () => new Float32Array(size));
  return {
    caches: config.caches.map(() => ({ count: 0, keys: new Float32Array(), values: new Float32Array() })),
    conv: perLayer((convKernel - 1) * innerSize),
    ssm: perLayer(stateSize * innerSize),
  };
}

/** Tensors with room for `room` positions that hold the parts, of which a later one goes on from an earlier one. */
export function toGpu(config: HymbaConfig, parts: readonly SavedPart[], room: number): GpuMemory {
  const { innerSize, stateSize } = config;
  const rows = { global: new GpuRows(config, 'global', room), sliding: new GpuRows(config, 'sliding', room) };
  const { conv, ssm } = parts.at(-1)?.memory ?? blankMemory(config);
  const data = new Map<string, Float32Array>();
  for (const [index, { kind }] of config.caches.entries()) {
    const cache = rows[kind].blank();
    for (const { memory, length } of parts) {
      const kept = memory.caches[index];
      if (kept) rows[kind].write(cache, length - kept.count, kept);
    }
    data.set(graphNames.keyCache(index), cache.keys);
    data.set(graphNames.valueCache(index), cache.values);
  }
  // The runtime takes no memory that threads share.
  for (const [layer, values] of conv.entries()) data.set(graphNames.conv(layer), Float32Array.from(values));
  for (const [layer, values] of ssm.entries()) {
    data.set(
      graphNames.ssm(layer),
      transposed(values, stateSize, innerSize, new Float32Array(values.length)),
    );
  }
  const tensors = webGpuStates(config).map(({ past, dims }) => {
    const sizes = dims.map((dim) => {
      if (typeof dim === 'number') return dim;
      return dim === 'P_global' ? rows.global.capacity : rows.sliding.capacity;
    });
    return [past, new Tensor('float32', data.get(past) ?? new Float32Array(), sizes)] as const;
  });
  return { rows, tensors: new Map(tensors) };
}

/** What is held of the positions `from` … `length`-1, with all meta tokens or none; `host` has the elements of every input. */
export function toMemory(
  config: HymbaConfig,
  rows: GpuMemory['rows'],
  { from, length }: { readonly from: number; readonly length: number },
  host: ReadonlyMap<string, Float32Array>,
): SequenceMemory {
  const { layers, innerSize, stateSize, metaTokens } = config;
  const read = (name: string) => host.get(name) ?? new Float32Array();
  const perLayer = (of: (layer: number) => Float32Array) =>
    Array.from({ length: layers }, (_, layer) => of(layer));
  return {
    caches: config.caches.map(({ kind }, index) => {
      const cache = { keys: read(graphNames.keyCache(index)), values: read(graphNames.valueCache(index)) };
      const first = from < metaTokens ? from : Math.max(from, rows[kind].firstHeld(length));
      return rows[kind].read(cache, first, length);
    }),
    conv: perLayer((layer) => sharedCopy(read(graphNames.conv(layer)))),
    ssm: perLayer((layer) => {
      const values = read(graphNames.ssm(layer));
      return transposed(values, innerSize, stateSize, sharedFloats(values.length));
    }),
  };
}

/** [rows, columns] → [columns, rows]: WebGPU's scan keeps a channel's states together, all others a state's channels. */
function transposed<To extends Float32Array>(from: Float32Array, rows: number, columns: number, to: To): To {
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++)
      to[column * rows + row] = from[row * columns + column] ?? 0;
  }
  return to;
}
