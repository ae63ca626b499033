import type { HymbaConfig, KvCacheSpec } from '@baton/hymba';
import { type KvCache, KvPool, type KvRows } from './kv-pool.ts';
import type { SequenceMemory } from './session-state.ts';
import { sharedCopy } from './shared-floats.ts';
import { SlotArray } from './slot-array.ts';

/** Room for one sequence's state. The pool moves it about, and so only the pool changes these. */
export interface Slot {
  /** Where its part of every array lies. */
  readonly index: number;
  /** Positions held, meta tokens included: the next token's position. */
  readonly length: number;
}

/** What positions up to `length` left behind, the last of them in `memory`. */
export interface SavedPart {
  readonly memory: SequenceMemory;
  readonly length: number;
}

type OwnSlot = { -readonly [Field in keyof Slot]: Slot[Field] } & {
  /** Positions that it is known to come to hold. */
  readonly expected: number;
};

/**
 * The states of all sequences, slot after slot in arrays that the model reads and writes where they lie. The slots in use
 * are always the first ones, so that a batch of sequences is a view of every array and nothing is copied for a step.
 */
export class StatePool {
  readonly slots: number;
  /** By kind, those that the configuration has. */
  readonly kinds: readonly KvPool[];
  /** For each layer, [slots, K-1, D]. */
  readonly conv: readonly SlotArray[];
  /** For each layer, [slots, N, D]. */
  readonly ssm: readonly SlotArray[];
  readonly #used: OwnSlot[] = [];
  readonly #firstPosition: number;
  readonly #mostBytes: number;
  #layout = 0;

  /** Keeps no more than `mostBytes` while what is in use needs no more: memory that slots have left serves later ones. */
  constructor(config: HymbaConfig, slots: number, mostBytes = Number.POSITIVE_INFINITY) {
    const perLayer = (size: number) =>
      Array.from({ length: config.layers }, () => new SlotArray(slots, size));
    this.slots = slots;
    this.kinds = (['global', 'sliding'] satisfies KvCacheSpec['kind'][])
      .map((kind) => new KvPool(kind, config, slots))
      .filter(({ caches }) => caches.size > 0);
    this.conv = perLayer((config.convKernel - 1) * config.innerSize);
    this.ssm = perLayer(config.stateSize * config.innerSize);
    this.#firstPosition = config.metaTokens;
    this.#mostBytes = mostBytes;
  }

  /** Changes whenever arrays move: views of them from before are of no use any more. */
  get layout(): number {
    return this.#layout;
  }

  /** What it takes, the memory that it keeps for later included. */
  get bytes(): number {
    return this.#arrays().reduce((sum, { bytes }) => sum + bytes, 0);
  }

  get free(): number {
    return this.slots - this.#used.length;
  }

  /**
   * An empty slot, all zero, for a sequence that is to hold `expected` positions: room for them is made at once, since all
   * streams wait whenever caches grow. Throws `RangeError` where no slot is free.
   */
  allocate(expected = 0): Slot {
    if (this.free === 0) throw new RangeError(`all ${this.slots} slots are in use`);
    const slot: OwnSlot = { index: this.#used.length, length: 0, expected };
    this.#used.push(slot);
    this.#layOut(this.#capacitiesFor(1, 1));
    // Rows of an earlier sequence are masked, yet a zero weight times an infinity among them would be no number.
    for (const array of this.#arrays()) array.clear(slot.index);
    for (const kind of this.kinds) kind.clear(slot.index);
    return slot;
  }

  /** Gives a slot back; the last one moves into its place. */
  release(slot: Slot): void {
    const own = this.#own(slot);
    const last = this.#used.pop();
    if (last === undefined || last === own) return;
    for (const array of this.#arrays()) array.copy(last.index, own.index);
    last.index = own.index;
    this.#used[last.index] = last;
  }

  /** Moves `slots` to the front, in an order of their own, so that they are one view of every array. */
  gather(slots: readonly Slot[]): void {
    const wanted = new Set(slots);
    let outside = slots.length;
    for (let index = 0; index < slots.length; index++) {
      const slot = this.#used[index];
      if (slot === undefined || wanted.has(slot)) continue;
      let other = this.#used[outside];
      while (other !== undefined && !wanted.has(other)) other = this.#used[++outside];
      if (other === undefined) throw new RangeError('a slot to gather is not in use');
      for (const array of this.#arrays()) array.swap(index, outside);
      this.#used[index] = other;
      this.#used[outside] = slot;
      other.index = index;
      slot.index = outside;
    }
  }

  /**
   * Makes room for sequences of `longest` positions, and for all that there are, or gives up what is more than `slack`
   * times that.
   */
  fit(longest: number, slack = 2): void {
    const capacities = this.#capacitiesFor(longest, slack);
    if (this.kinds.some(({ capacity }, at) => capacity !== capacities[at])) this.#layOut(capacities);
  }

  /**
   * Takes in the rows of the next `count` positions of a slot, for each cache those of a run in which the slot was sequence
   * number `item`. There must be room.
   */
  append(slot: Slot, count: number, item: number, caches: readonly KvRows[]): void {
    const own = this.#own(slot);
    for (const kind of this.kinds) {
      for (const [index, cache] of kind.caches) {
        const rows = caches[index];
        if (rows) kind.write(own.index, own.length, cache, rows, item);
      }
      kind.unmask(own.index, own.length, count);
    }
    own.length += count;
  }

  /** What is held from position `from` on, which must not be in the middle of a sliding window. */
  save(slot: Slot, from: number): SequenceMemory {
    const { index, length } = this.#own(slot);
    const copies = (arrays: readonly SlotArray[]) => arrays.map((array) => sharedCopy(array.view(index)));
    const rows = (kind: KvPool, cache: KvCache) => {
      const first = from < this.#firstPosition ? from : Math.max(from, kind.firstHeld(length));
      return kind.read(index, first, length, cache);
    };
    const caches = this.kinds.flatMap((kind) =>
      Array.from(kind.caches, ([at, cache]) => [at, rows(kind, cache)] as const),
    );
    return {
      caches: caches.sort(([a], [b]) => a - b).map(([, kept]) => kept),
      conv: copies(this.conv),
      ssm: copies(this.ssm),
    };
  }

  /** Makes a slot remember what `parts` hold, each saved at its length, on top of the positions before that it holds. */
  load(slot: Slot, parts: readonly SavedPart[]): void {
    const own = this.#own(slot);
    this.fit(parts.at(-1)?.length ?? own.length);
    for (const { memory, length } of parts) {
      for (const kind of this.kinds) {
        for (const [index, cache] of kind.caches) {
          const rows = memory.caches[index];
          if (rows) kind.write(own.index, length - rows.count, cache, rows, 0);
        }
        kind.unmask(own.index, own.length, length - own.length);
      }
      own.length = length;
    }
    const { conv = [], ssm = [] } = parts.at(-1)?.memory ?? {};
    for (const [layer, values] of conv.entries()) this.conv[layer]?.view(own.index).set(values);
    for (const [layer, values] of ssm.entries()) this.ssm[layer]?.view(own.index).set(values);
  }

  #capacitiesFor(longest: number, slack: number): number[] {
    const needed = Math.max(longest, ...this.#used.map(({ length, expected }) => Math.max(length, expected)));
    return this.kinds.map((kind) => kind.capacityFor(needed, slack));
  }

  /**
   * Lays the slots in use out, with so many rows of each kind. Kinds and recurrent states are at their largest at different
   * times, so that together they would come to keep more than is ever in use: what is too much goes before more is taken.
   */
  #layOut(capacities: readonly number[]): void {
    const lengths = this.#used.map(({ length }) => length);
    const change = (isDue: (from: number, to: number) => boolean) => {
      for (const [at, kind] of this.kinds.entries()) {
        const capacity = capacities[at] ?? kind.capacity;
        if (!isDue(kind.capacity, capacity)) continue;
        kind.layOut(capacity, lengths);
        this.#layout++;
      }
    };
    change((from, to) => to < from);
    if (this.#bytesWith(capacities) > this.#mostBytes) {
      for (const array of this.#arrays()) array.trim(lengths.length);
      this.#layout++;
    }
    change((from, to) => to > from);
  }

  #bytesWith(capacities: readonly number[]): number {
    const used = this.#used.length;
    const recurrent = [...this.conv, ...this.ssm].map((array) => array.bytesWith(array.stride, used));
    const cached = this.kinds.map((kind, at) => kind.bytesWith(capacities[at] ?? kind.capacity, used));
    return [...recurrent, ...cached].reduce((sum, bytes) => sum + bytes, 0);
  }

  #own(slot: Slot): OwnSlot {
    const own = this.#used[slot.index];
    if (own !== slot) throw new RangeError('the slot is not in use');
    return own;
  }

  #arrays(): SlotArray[] {
    return [...this.kinds.flatMap(({ arrays }) => arrays), ...this.conv, ...this.ssm];
  }
}
