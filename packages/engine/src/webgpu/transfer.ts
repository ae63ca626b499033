import { graphNames, type HymbaConfig, heldByNone } from '@baton/hymba';
import type { KvRows } from '../state/kv-pool.ts';
import type { SequenceMemory } from '../state/session-state.ts';
import { sharedCopy, sharedFloats } from '../state/shared-floats.ts';
import type { SavedPart } from '../state/state-pool.ts';
import type { Capacity, GpuRows, RowsByKind } from './gpu-rows.ts';

/** The layout of one sequence's states. */
export interface HostLayout {
  readonly config: HymbaConfig;
  readonly rows: RowsByKind;
  readonly capacity: Capacity;
}

/** One cache of one sequence in JavaScript's memory: keys [heads, width, capacity] and values [heads, capacity, width]. */
interface HostCache {
  readonly keys: Float32Array;
  readonly values: Float32Array;
  readonly rows: GpuRows;
  readonly capacity: number;
}

/** The elements of every state, as the GPU has them, of the parts: a later one goes on from an earlier one. */
export function toHost(
  { config, rows, capacity }: HostLayout,
  parts: readonly SavedPart[],
): Map<string, Float32Array> {
  const { kvHeads, keySize, valueSize, layers, convKernel, innerSize, stateSize } = config;
  const host = new Map<string, Float32Array>();
  for (const [index, { kind }] of config.caches.entries()) {
    const cache: HostCache = {
      keys: new Float32Array(kvHeads * keySize * capacity[kind]),
      values: new Float32Array(kvHeads * valueSize * capacity[kind]),
      rows: rows[kind],
      capacity: capacity[kind],
    };
    const held = new Float32Array(capacity[kind]).fill(heldByNone);
    for (const { memory, length } of parts) {
      const kept = memory.caches[index];
      if (!kept) continue;
      writeRows(config, cache, length - kept.count, kept);
      for (let i = length - kept.count; i < length; i++) held[rows[kind].rowOf(i)] = i;
    }
    host.set(graphNames.keyCache(index), cache.keys);
    host.set(graphNames.valueCache(index), cache.values);
    host.set(graphNames.held(kind), held);
  }
  const last = parts.at(-1)?.memory;
  for (let layer = 0; layer < layers; layer++) {
    // The runtime takes no memory that threads share.
    const conv = last?.conv[layer] ?? new Float32Array((convKernel - 1) * innerSize);
    host.set(graphNames.conv(layer), Float32Array.from(conv));
    const ssm = last?.ssm[layer] ?? new Float32Array(stateSize * innerSize);
    host.set(graphNames.ssm(layer), transposed(ssm, stateSize, innerSize, new Float32Array(ssm.length)));
  }
  return host;
}

/** What is held of the positions `from` … `length`-1, with all meta tokens or none. */
export function toMemory(
  { config, rows, capacity }: HostLayout,
  { from, length }: { readonly from: number; readonly length: number },
  host: ReadonlyMap<string, Float32Array>,
): SequenceMemory {
  const { layers, innerSize, stateSize, metaTokens } = config;
  const read = (name: string) => host.get(name) ?? new Float32Array();
  const perLayer = (of: (layer: number) => Float32Array) =>
    Array.from({ length: layers }, (_, layer) => of(layer));
  return {
    caches: config.caches.map(({ kind }, index) => {
      const cache: HostCache = {
        keys: read(graphNames.keyCache(index)),
        values: read(graphNames.valueCache(index)),
        rows: rows[kind],
        capacity: capacity[kind],
      };
      const first = from < metaTokens ? from : Math.max(from, rows[kind].firstHeld(length));
      return readRows(config, cache, first, length);
    }),
    conv: perLayer((layer) => sharedCopy(read(graphNames.conv(layer)))),
    ssm: perLayer((layer) => {
      const values = read(graphNames.ssm(layer));
      return transposed(values, innerSize, stateSize, sharedFloats(values.length));
    }),
  };
}

/** Copies in the rows of successive positions from `first` on. */
function writeRows(
  config: HymbaConfig,
  cache: HostCache,
  first: number,
  { count, keys, values }: KvRows,
): void {
  eachElement(config, cache, first, count, (key, at) => {
    cache.keys[at] = keys[key] ?? 0;
  });
  const { valueSize } = config;
  eachRow(config, cache, first, count, (row, at) => {
    cache.values.set(values.subarray(row * valueSize, (row + 1) * valueSize), at * valueSize);
  });
}

/** The rows of the positions `first` … `end`-1, which must be held. */
function readRows(config: HymbaConfig, cache: HostCache, first: number, end: number): KvRows {
  const { kvHeads, keySize, valueSize } = config;
  const count = end - first;
  const keys = sharedFloats(kvHeads * count * keySize);
  const values = sharedFloats(kvHeads * count * valueSize);
  eachElement(config, cache, first, count, (key, at) => {
    keys[key] = cache.keys[at] ?? 0;
  });
  eachRow(config, cache, first, count, (row, at) => {
    values.set(cache.values.subarray(at * valueSize, (at + 1) * valueSize), row * valueSize);
  });
  return { count, keys, values };
}

/** Calls with each row's number among [heads, count] and among [heads, capacity]. */
function eachRow(
  { kvHeads }: HymbaConfig,
  { rows, capacity }: HostCache,
  first: number,
  count: number,
  visit: (row: number, at: number) => void,
): void {
  for (let head = 0; head < kvHeads; head++) {
    for (let i = 0; i < count; i++) visit(head * count + i, head * capacity + rows.rowOf(first + i));
  }
}

/** Calls with each key element's place in [heads, count, width] and in [heads, width, capacity]. */
function eachElement(
  config: HymbaConfig,
  { rows, capacity }: HostCache,
  first: number,
  count: number,
  visit: (key: number, at: number) => void,
): void {
  const { kvHeads, keySize } = config;
  for (let head = 0; head < kvHeads; head++) {
    for (let i = 0; i < count; i++) {
      const row = rows.rowOf(first + i);
      for (let d = 0; d < keySize; d++) {
        visit((head * count + i) * keySize + d, (head * keySize + d) * capacity + row);
      }
    }
  }
}

/** [rows, columns] → [columns, rows]: WebGPU's scan keeps a channel's states together, all others a state's channels. */
function transposed<To extends Float32Array>(from: Float32Array, rows: number, columns: number, to: To): To {
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++)
      to[column * rows + row] = from[row * columns + column] ?? 0;
  }
  return to;
}
