import { type HymbaConfig, type KvCacheSpec, maskedBias } from '@baton/hymba';
import { CacheRows } from './cache-rows.ts';
import { SlotArray } from './slot-array.ts';
import { bucketOf } from './state-size.ts';

/** Keys and values [heads, count, width] of successive positions; those of several sequences lie one after another. */
export interface KvRows {
  readonly count: number;
  readonly keys: Float32Array;
  readonly values: Float32Array;
}

/** One cache in all slots: keys [slots, heads, capacity, width] and values [slots, heads, width, capacity]. */
export interface KvCache {
  readonly keys: SlotArray;
  readonly values: SlotArray;
}

/** All caches of one kind, where the model reads them. All have the same capacity, which follows what the longest needs. */
export class KvPool extends CacheRows {
  /** By the cache's index in the configuration. */
  readonly caches: ReadonlyMap<number, KvCache>;
  /** What a decode step adds to its scores, [slots, capacity + 1]: 0 for each row that is filled and for the new token. */
  readonly decodeBias: SlotArray;
  readonly #config: HymbaConfig;
  #capacity: number;

  constructor(kind: KvCacheSpec['kind'], config: HymbaConfig, slots: number) {
    super(kind, config);
    const { kvHeads, keySize, valueSize } = config;
    this.#config = config;
    this.#capacity = bucketOf(1, this.limit);
    const cache = (): KvCache => ({
      keys: new SlotArray(slots, kvHeads * this.#capacity * keySize),
      values: new SlotArray(slots, kvHeads * this.#capacity * valueSize),
    });
    this.caches = new Map(
      config.caches.flatMap((spec, index) => (spec.kind === kind ? [[index, cache()] as const] : [])),
    );
    this.decodeBias = new SlotArray(slots, this.#capacity + 1);
  }

  override get capacity(): number {
    return this.#capacity;
  }

  get arrays(): SlotArray[] {
    return [...this.caches.values()].flatMap(({ keys, values }) => [keys, values]).concat(this.decodeBias);
  }

  /**
   * Makes room for sequences of `longest` positions, or gives up what is more than `slack` times that; `lengths` are those
   * of the slots in use. True where the arrays moved.
   */
  fit(longest: number, slack: number, lengths: readonly number[]): boolean {
    const needed = bucketOf(Math.max(1, Math.min(longest, this.limit)), this.limit);
    if (needed <= this.#capacity && needed * slack >= this.#capacity) return false;
    const { kvHeads, keySize, valueSize } = this.#config;
    for (const { keys, values } of this.caches.values()) {
      keys.resize(kvHeads * needed * keySize, kvHeads, lengths.length);
      values.resize(kvHeads * valueSize * needed, kvHeads * valueSize, lengths.length);
    }
    this.decodeBias.resize(needed + 1, 1, 0);
    this.#capacity = needed;
    for (const [slot, length] of lengths.entries()) this.#show(slot, length);
    return true;
  }

  /** Hides all rows of a slot from decode steps. */
  clear(slot: number): void {
    this.#show(slot, 0);
  }

  // Rows are copied element by element: they are short, and views of them would be made by the hundred in every step.

  /** Copies in the rows of the positions from `first` on, the `item`-th sequence's of `rows`; room must be there. */
  write(slot: number, first: number, cache: KvCache, rows: KvRows, item: number): void {
    const { kvHeads, keySize, valueSize } = this.#config;
    const { count } = rows;
    const [keys, values] = [cache.keys.data, cache.values.data];
    for (let at = 0; at < count; at++) {
      const position = first + at;
      // Of more rows than the window holds, only the last ones stay.
      if (!this.holds(position, first + count)) continue;
      for (let head = 0; head < kvHeads; head++) {
        const from = (item * kvHeads + head) * count + at;
        const row = this.rowOf(position);
        const block = slot * kvHeads + head;
        const to = (block * this.#capacity + row) * keySize;
        for (let i = 0; i < keySize; i++) keys[to + i] = rows.keys[from * keySize + i] as number;
        for (let i = 0; i < valueSize; i++) {
          values[(block * valueSize + i) * this.#capacity + row] = rows.values[
            from * valueSize + i
          ] as number;
        }
      }
    }
  }

  /** Lets decode steps see the rows of the positions from `first` on, which are written. */
  unmask(slot: number, first: number, count: number): void {
    const { data, stride } = this.decodeBias;
    for (let position = first; position < first + count; position++) {
      data[slot * stride + this.rowOf(position)] = 0;
    }
  }

  /** Copies out the rows of the positions `first` … `end`-1, which must be held. */
  read(slot: number, first: number, end: number, cache: KvCache): KvRows {
    const { kvHeads, keySize, valueSize } = this.#config;
    const count = end - first;
    const keys = new Float32Array(kvHeads * count * keySize);
    const values = new Float32Array(kvHeads * count * valueSize);
    for (let at = 0; at < count; at++) {
      const row = this.rowOf(first + at);
      for (let head = 0; head < kvHeads; head++) {
        const block = slot * kvHeads + head;
        const from = (block * this.#capacity + row) * keySize;
        const to = head * count + at;
        for (let i = 0; i < keySize; i++) keys[to * keySize + i] = cache.keys.data[from + i] as number;
        for (let i = 0; i < valueSize; i++) {
          values[to * valueSize + i] = cache.values.data[
            (block * valueSize + i) * this.#capacity + row
          ] as number;
        }
      }
    }
    return { count, keys, values };
  }

  /** A row is filled once its position, or the first of those that share it, is. */
  #show(slot: number, length: number): void {
    const bias = this.decodeBias.view(slot).fill(maskedBias);
    bias.fill(0, 0, Math.min(length, this.limit));
    bias[this.#capacity] = 0;
  }
}
