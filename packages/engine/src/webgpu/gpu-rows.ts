import type { HymbaConfig, KvCacheSpec } from '@baton/hymba';
import type { CacheLayout } from '../state/attention-bias.ts';
import type { KvRows } from '../state/kv-pool.ts';
import { rowLimit } from '../state/state-size.ts';

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
 * Where the rows of one sequence lie in its caches of one kind: those of the meta tokens, then those of the other positions,
 * in a sliding cache as a ring, and at last a spare row. The spare row takes the rows of a chunk that leave the window
 * before the chunk ends, and is never shown.
 */
export class GpuRows implements CacheLayout {
  readonly kind: KvCacheSpec['kind'];
  readonly capacity: number;
  readonly #config: HymbaConfig;
  readonly #limit: number;

  /** Has room for `length` positions, or for as many of them as the window holds. */
  constructor(config: HymbaConfig, kind: KvCacheSpec['kind'], length: number) {
    this.kind = kind;
    this.#config = config;
    this.#limit = rowLimit(config, kind);
    this.capacity = gpuCapacity(Math.max(length, 1), this.#limit);
  }

  hasRoomFor(length: number): boolean {
    return Math.min(length, this.#limit) < this.capacity;
  }

  firstHeld(length: number): number {
    const { metaTokens } = this.#config;
    return Math.max(metaTokens, metaTokens + length - this.#limit);
  }

  rowOf(position: number): number {
    const { metaTokens } = this.#config;
    if (position < metaTokens) return position;
    return metaTokens + ((position - metaTokens) % (this.#limit - metaTokens));
  }

  /** For ScatterND, [1, heads, count, 3]: where the rows of the `count` positions after `length` go. */
  scatterIndices(length: number, count: number): BigInt64Array<ArrayBuffer> {
    const { kvHeads, metaTokens } = this.#config;
    const held = this.firstHeld(length + count);
    const indices = new BigInt64Array(kvHeads * count * 3);
    for (let head = 0; head < kvHeads; head++) {
      for (let i = 0; i < count; i++) {
        const position = length + i;
        const stays = position < metaTokens || position >= held;
        const at = (head * count + i) * 3;
        indices[at + 1] = BigInt(head);
        indices[at + 2] = BigInt(stays ? this.rowOf(position) : this.capacity - 1);
      }
    }
    return indices;
  }

  /** A cache with the rows of successive positions from `first` on, and zeros. */
  blank(): HostCache {
    const { kvHeads, keySize, valueSize } = this.#config;
    const rows = kvHeads * this.capacity;
    return { keys: new Float32Array(rows * keySize), values: new Float32Array(rows * valueSize) };
  }

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
    const keys = new Float32Array(kvHeads * count * keySize);
    const values = new Float32Array(kvHeads * count * valueSize);
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
