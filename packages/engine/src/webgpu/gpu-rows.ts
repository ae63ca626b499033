import type { HymbaConfig, KvCacheSpec } from '@baton/hymba';
import { CacheRows } from '../state/cache-rows.ts';
import type { KvRows } from '../state/kv-pool.ts';
import { sharedFloats } from '../state/shared-floats.ts';

/** One cache of one sequence, keys and values [heads, capacity, width], where JavaScript can read it. */
export interface HostCache {
  readonly keys: Float32Array;
  readonly values: Float32Array;
}

/**
 * Rows of a cache on the GPU where `rows` of at most `limit` are needed, with a spare one. It doubles, since it grows by a
 * detour over JavaScript's memory.
 */
export function gpuCapacity(rows: number, limit: number): number {
  return Math.min(limit, Math.max(128, 2 ** Math.ceil(Math.log2(rows)))) + 1;
}

/**
 * The rows of one sequence in its caches of one kind, and at last a spare row. The spare row takes what a chunk brings that
 * leaves the window before the chunk ends, and is never shown.
 */
export class GpuRows extends CacheRows {
  readonly #config: HymbaConfig;
  /** The spare row is one of them. */
  override readonly capacity: number;

  /** Has room for `length` positions, or for as many of them as the window holds. */
  constructor(config: HymbaConfig, kind: KvCacheSpec['kind'], length: number) {
    super(kind, config);
    this.#config = config;
    this.capacity = gpuCapacity(Math.max(length, 1), this.limit);
  }

  hasRoomFor(length: number): boolean {
    return Math.min(length, this.limit) < this.capacity;
  }

  /** For ScatterND, [1, heads, count, 3]: where the rows of the `count` positions after `length` go. */
  scatterIndices(length: number, count: number): BigInt64Array<ArrayBuffer> {
    const { kvHeads } = this.#config;
    const indices = new BigInt64Array(kvHeads * count * 3);
    for (let head = 0; head < kvHeads; head++) {
      for (let i = 0; i < count; i++) {
        const position = length + i;
        const at = (head * count + i) * 3;
        indices[at + 1] = BigInt(head);
        indices[at + 2] = BigInt(
          this.holds(position, length + count) ? this.rowOf(position) : this.capacity - 1,
        );
      }
    }
    return indices;
  }

  blank(): HostCache {
    const { kvHeads, keySize, valueSize } = this.#config;
    const rows = kvHeads * this.capacity;
    return { keys: new Float32Array(rows * keySize), values: new Float32Array(rows * valueSize) };
  }

  /** Copies in the rows of successive positions from `first` on, which must all be held in the end. */
  write(cache: HostCache, first: number, { count, keys, values }: KvRows): void {
    const { keySize, valueSize } = this.#config;
    this.#eachRow(first, count, (row, at) => {
      cache.keys.set(keys.subarray(row * keySize, (row + 1) * keySize), at * keySize);
      cache.values.set(values.subarray(row * valueSize, (row + 1) * valueSize), at * valueSize);
    });
  }

  /** The rows of the positions `first` … `end`-1, which must be held. */
  read(cache: HostCache, first: number, end: number): KvRows {
    const { kvHeads, keySize, valueSize } = this.#config;
    const count = end - first;
    const keys = sharedFloats(kvHeads * count * keySize);
    const values = sharedFloats(kvHeads * count * valueSize);
    this.#eachRow(first, count, (row, at) => {
      keys.set(cache.keys.subarray(at * keySize, (at + 1) * keySize), row * keySize);
      values.set(cache.values.subarray(at * valueSize, (at + 1) * valueSize), row * valueSize);
    });
    return { count, keys, values };
  }

  /** Calls with each row's number among [heads, count] and among [heads, capacity]. */
  #eachRow(first: number, count: number, visit: (row: number, at: number) => void): void {
    for (let head = 0; head < this.#config.kvHeads; head++) {
      for (let i = 0; i < count; i++) visit(head * count + i, head * this.capacity + this.rowOf(first + i));
    }
  }
}
