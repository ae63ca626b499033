import { type HymbaConfig, type KvCacheSpec, maskedBias } from '@baton/hymba';
import { CacheRows } from './cache-rows.ts';
import { Columns } from './columns.ts';
import { sharedFloats } from './shared-floats.ts';
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
  readonly #columns: Columns;
  #capacity: number;

  constructor(kind: KvCacheSpec['kind'], config: HymbaConfig, slots: number) {
    super(kind, config);
    const { kvHeads, keySize, valueSize } = config;
    this.#config = config;
    this.#columns = new Columns(valueSize);
    this.#capacity = bucketOf(1, this.limit);
    const array = (rowSize: number) => new SlotArray(slots, this.#capacity * rowSize, this.limit * rowSize);
    const cache = (): KvCache => ({ keys: array(kvHeads * keySize), values: array(kvHeads * valueSize) });
    this.caches = new Map(
      config.caches.flatMap((spec, index) => (spec.kind === kind ? [[index, cache()] as const] : [])),
    );
    this.decodeBias = new SlotArray(slots, this.#capacity + 1, this.limit + 1);
  }

  override get capacity(): number {
    return this.#capacity;
  }

  get arrays(): SlotArray[] {
    return [...this.caches.values()].flatMap(({ keys, values }) => [keys, values]).concat(this.decodeBias);
  }

  /** Rows to have for sequences of `longest` positions: no fewer than there are, unless they are over `slack` times as many. */
  capacityFor(longest: number, slack: number): number {
    const needed = bucketOf(Math.max(1, Math.min(longest, this.limit)), this.limit);
    return needed <= this.#capacity && needed * slack >= this.#capacity ? this.#capacity : needed;
  }

  /** Bytes that the arrays take once `used` slots with room for `capacity` rows have been in use. */
  bytesWith(capacity: number, used: number): number {
    const { kvHeads, keySize, valueSize } = this.#config;
    let bytes = this.decodeBias.bytesWith(capacity + 1, used);
    for (const { keys, values } of this.caches.values()) {
      bytes += keys.bytesWith(kvHeads * capacity * keySize, used);
      bytes += values.bytesWith(kvHeads * valueSize * capacity, used);
    }
    return bytes;
  }

  /** Lays the slots in use, whose lengths are given, out with room for `capacity` rows. The arrays move. */
  layOut(capacity: number, lengths: readonly number[]): void {
    const { kvHeads, keySize, valueSize } = this.#config;
    for (const { keys, values } of this.caches.values()) {
      keys.resize(kvHeads * capacity * keySize, kvHeads, lengths.length);
      values.resize(kvHeads * valueSize * capacity, kvHeads * valueSize, lengths.length);
    }
    this.decodeBias.resize(capacity + 1, 1, lengths.length);
    this.#capacity = capacity;
    for (const [slot, length] of lengths.entries()) this.#show(slot, length);
  }

  /** Hides all rows of a slot from decode steps. */
  clear(slot: number): void {
    this.#show(slot, 0);
  }

  /** Copies in the rows of the positions from `first` on, the `item`-th sequence's of `rows`; room must be there. */
  write(slot: number, first: number, cache: KvCache, rows: KvRows, item: number): void {
    const { kvHeads, keySize, valueSize } = this.#config;
    const { count } = rows;
    const keys = cache.keys.data;
    const values = cache.values.data;
    if (count === 1) {
      // As in every step of every sequence, without making anything.
      const row = this.rowOf(first);
      for (let head = 0; head < kvHeads; head++) {
        const block = slot * kvHeads + head;
        const from = item * kvHeads + head;
        copy(rows.keys, from * keySize, keys, (block * this.#capacity + row) * keySize, keySize);
        const to = block * valueSize * this.#capacity + row;
        for (let i = 0; i < valueSize; i++)
          values[to + i * this.#capacity] = rows.values[from * valueSize + i] as number;
      }
      return;
    }
    // Of more rows than the window holds, only the last ones stay.
    this.#eachRun(first, count, (at, row, length) => {
      for (let head = 0; head < kvHeads; head++) {
        const block = slot * kvHeads + head;
        const from = (item * kvHeads + head) * count + at;
        copy(rows.keys, from * keySize, keys, (block * this.#capacity + row) * keySize, length * keySize);
        const to = block * valueSize * this.#capacity + row;
        this.#columns.write(values, to, this.#capacity, rows.values, from * valueSize, length);
      }
    });
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
    const keys = sharedFloats(kvHeads * count * keySize);
    const values = sharedFloats(kvHeads * count * valueSize);
    this.#eachRun(first, count, (at, row, length) => {
      for (let head = 0; head < kvHeads; head++) {
        const block = slot * kvHeads + head;
        const to = head * count + at;
        copy(cache.keys.data, (block * this.#capacity + row) * keySize, keys, to * keySize, length * keySize);
        const from = block * valueSize * this.#capacity + row;
        this.#columns.read(cache.values.data, from, this.#capacity, values, to * valueSize, length);
      }
    });
    return { count, keys, values };
  }

  /** Calls with each run of positions that lie in successive rows: its place among the `count`, its first row, its length. */
  #eachRun(first: number, count: number, visit: (at: number, row: number, length: number) => void): void {
    let at = 0;
    while (at < count && !this.holds(first + at, first + count)) at++;
    while (at < count) {
      const row = this.rowOf(first + at);
      let length = 1;
      while (
        at + length < count &&
        this.rowOf(first + at + length) === row + length &&
        this.holds(first + at + length, first + count)
      ) {
        length++;
      }
      visit(at, row, length);
      at += length;
      while (at < count && !this.holds(first + at, first + count)) at++;
    }
  }

  /** A row is filled once its position, or the first of those that share it, is. */
  #show(slot: number, length: number): void {
    const bias = this.decodeBias.view(slot).fill(maskedBias);
    bias.fill(0, 0, Math.min(length, this.limit));
    bias[this.#capacity] = 0;
  }
}

/** Element by element where it is short, as in every step: views would be made by the hundred. */
function copy(from: Float32Array, start: number, to: Float32Array, at: number, length: number): void {
  if (length > 256) to.set(from.subarray(start, start + length), at);
  else for (let i = 0; i < length; i++) to[at + i] = from[start + i] as number;
}
