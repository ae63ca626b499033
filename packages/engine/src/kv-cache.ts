import type { HymbaConfig, KvCacheSpec } from '@baton/hymba';

/** Caches grow by this many rows, so that a step rarely has to move them. */
const growth = 128;

/** Keys and values [heads, rows, width] of successive positions. */
export interface KvRows {
  readonly count: number;
  readonly keys: Float32Array;
  readonly values: Float32Array;
}

/**
 * One layer group's keys and values, where the model reads them. A global cache holds every position in its own row; a
 * sliding one holds the meta tokens and after them a ring of the last `slidingWindow` positions. Both grow as they fill.
 */
export class KvCache {
  readonly kind: KvCacheSpec['kind'];
  readonly #config: HymbaConfig;
  /** The most rows that this cache can come to need. */
  readonly #limit: number;
  #capacity: number;
  #keys: Float32Array;
  #values: Float32Array;

  constructor(kind: KvCacheSpec['kind'], config: HymbaConfig) {
    const { metaTokens, slidingWindow, contextLength, kvHeads, keySize, valueSize } = config;
    this.kind = kind;
    this.#config = config;
    this.#limit = metaTokens + (kind === 'sliding' && slidingWindow ? slidingWindow : contextLength);
    this.#capacity = Math.min(growth, this.#limit);
    this.#keys = new Float32Array(kvHeads * this.#capacity * keySize);
    this.#values = new Float32Array(kvHeads * this.#capacity * valueSize);
  }

  /** Rows of `keys` and `values` for each head, filled or not. */
  get capacity(): number {
    return this.#capacity;
  }

  get keys(): Float32Array {
    return this.#keys;
  }

  get values(): Float32Array {
    return this.#values;
  }

  clone(): KvCache {
    const copy = new KvCache(this.kind, this.#config);
    copy.#capacity = this.#capacity;
    copy.#keys = this.#keys.slice();
    copy.#values = this.#values.slice();
    return copy;
  }

  /** The first position, from the prompt's on, that is still held of the positions below `length`. */
  firstHeld(length: number): number {
    const { metaTokens } = this.#config;
    return Math.max(metaTokens, metaTokens + length - this.#limit);
  }

  /** The row of a position: where it lies, or will overwrite what left the window. */
  rowOf(position: number): number {
    const { metaTokens } = this.#config;
    if (position < metaTokens) return position;
    return metaTokens + ((position - metaTokens) % (this.#limit - metaTokens));
  }

  /** Copies in the rows of the positions from `first` on; of more than the window holds, the last ones. */
  write(first: number, { count, keys, values }: KvRows): void {
    const { kvHeads, keySize, valueSize } = this.#config;
    const length = first + count;
    this.#reserve(Math.min(length, this.#limit));
    for (let i = 0; i < count; i++) {
      const position = first + i;
      if (position >= this.#config.metaTokens && position < this.firstHeld(length)) continue;
      const row = this.rowOf(position);
      for (let head = 0; head < kvHeads; head++) {
        const from = head * count + i;
        const to = head * this.#capacity + row;
        this.#keys.set(keys.subarray(from * keySize, (from + 1) * keySize), to * keySize);
        this.#values.set(values.subarray(from * valueSize, (from + 1) * valueSize), to * valueSize);
      }
    }
  }

  /** Copies out the rows of the positions `first` … `end`-1, which must be held. */
  read(first: number, end: number): KvRows {
    const { kvHeads, keySize, valueSize } = this.#config;
    const count = end - first;
    const keys = new Float32Array(kvHeads * count * keySize);
    const values = new Float32Array(kvHeads * count * valueSize);
    for (let i = 0; i < count; i++) {
      const row = this.rowOf(first + i);
      for (let head = 0; head < kvHeads; head++) {
        const from = head * this.#capacity + row;
        const to = head * count + i;
        keys.set(this.#keys.subarray(from * keySize, (from + 1) * keySize), to * keySize);
        values.set(this.#values.subarray(from * valueSize, (from + 1) * valueSize), to * valueSize);
      }
    }
    return { count, keys, values };
  }

  #reserve(rows: number): void {
    if (rows <= this.#capacity) return;
    const { kvHeads, keySize, valueSize } = this.#config;
    const capacity = Math.min(this.#limit, Math.ceil(rows / growth) * growth);
    const widened = (from: Float32Array, width: number) => {
      const to = new Float32Array(kvHeads * capacity * width);
      const old = this.#capacity * width;
      for (let head = 0; head < kvHeads; head++) {
        to.set(from.subarray(head * old, (head + 1) * old), head * capacity * width);
      }
      return to;
    };
    this.#keys = widened(this.#keys, keySize);
    this.#values = widened(this.#values, valueSize);
    this.#capacity = capacity;
  }
}
