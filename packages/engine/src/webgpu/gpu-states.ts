import { ConfigurationError } from '@baton/errors';
import type { HymbaConfig } from '@baton/hymba';
import type { SequenceMemory } from '../state/session-state.ts';
import type { SavedPart } from '../state/state-pool.ts';
import { dispose, type GpuMemory, GpuMover } from './gpu-memory.ts';
import { type Capacity, capacityFor, type RowsByKind } from './gpu-rows.ts';
import { toHost, toMemory } from './transfer.ts';

/** One sequence's state, in a slot of its own. */
export interface GpuSequence {
  readonly slot: number;
  /** Positions held, meta tokens included: the next token's position. */
  readonly length: number;
}

/** A sequence as its owner sees it. */
export interface OwnSequence extends GpuSequence {
  length: number;
  /** What it goes on from, until that has been brought to the GPU: nothing more than the meta tokens, or a session's state. */
  pending: 'start' | readonly SavedPart[] | null;
}

/** Sequences whose states take memory beside the slots': the desk's and the start. */
export const besideSlots = 2;

/**
 * The states of all sequences on the GPU, slot after slot in one piece of memory for each part of a state. A decode step
 * takes the beginning of each piece as it lies. A prompt's chunks run on a desk with room for one, from which the state is
 * put into its slot when the desk or the slot is needed: joining, leaving and moving never pass through JavaScript's memory.
 */
export class GpuStates {
  readonly #config: HymbaConfig;
  readonly #rows: RowsByKind;
  readonly #mover: GpuMover;
  readonly #slots: number;
  #all: GpuMemory;
  #desk: GpuMemory;
  /** The state right after the meta tokens. */
  #start: GpuMemory;
  /** Whose state lies on the desk and is newer there than in its slot. */
  #atDesk: OwnSequence | null = null;

  /**
   * `slots` sequences, before everything. Throws `ConfigurationError` where the GPU could not hold so many of full length:
   * rather at once than when the first sequence gets long.
   */
  static async open(config: HymbaConfig, rows: RowsByKind, slots: number): Promise<GpuStates> {
    const mover = await GpuMover.open(config);
    const full = capacityFor(rows, config.metaTokens + config.contextLength);
    const problemWith = (slots: number) => mover.problemWith([slots, 1, 1], full);
    const problem = await problemWith(slots);
    if (problem !== null) {
      const fitting = await mostThat(async (slots) => (await problemWith(slots)) === null, slots - 1);
      throw new ConfigurationError(
        `BATON_SLOTS is ${slots}, but this GPU has no room for the states of so many sequences of ${config.contextLength} tokens; ` +
          `${fitting > 0 ? `it must be at most ${fitting}` : 'it has none for one either: set BATON_DEVICE to cpu'}. ONNX Runtime says: ${problem}`,
      );
    }
    const capacity = capacityFor(rows, config.metaTokens + 1);
    const memory = (sequences: number) => mover.allocate(sequences, capacity);
    const [all, desk, start] = [await memory(slots), await memory(1), await memory(1)];
    return new GpuStates({ config, rows, mover, slots, all, desk, start });
  }

  private constructor(parts: {
    readonly config: HymbaConfig;
    readonly rows: RowsByKind;
    readonly mover: GpuMover;
    readonly slots: number;
    readonly all: GpuMemory;
    readonly desk: GpuMemory;
    readonly start: GpuMemory;
  }) {
    this.#config = parts.config;
    this.#rows = parts.rows;
    this.#mover = parts.mover;
    this.#slots = parts.slots;
    this.#all = parts.all;
    this.#desk = parts.desk;
    this.#start = parts.start;
  }

  get capacity(): Capacity {
    return this.#all.capacity;
  }

  /** Makes room in every slot for sequences of `length` positions. */
  async fit(length: number): Promise<void> {
    const wanted = capacityFor(this.#rows, length);
    const has = this.capacity;
    const capacity = {
      global: Math.max(has.global, wanted.global),
      sliding: Math.max(has.sliding, wanted.sliding),
    };
    if (capacity.global === has.global && capacity.sliding === has.sliding) return;
    this.#all = await this.#mover.grow(this.#all, capacity);
    this.#desk = await this.#mover.grow(this.#desk, capacity);
    this.#start = await this.#mover.grow(this.#start, capacity);
  }

  /** Makes what lies on the desk the state that every sequence begins with. */
  async keepAsStart(): Promise<void> {
    await this.#mover.take(this.#desk, 0, this.#start);
    this.#atDesk = null;
  }

  /** Lays a sequence's state on the desk; what a graph takes and where it writes. */
  async toDesk(sequence: OwnSequence) {
    await this.#settle(sequence);
    if (this.#atDesk !== sequence) {
      await this.#clearDesk();
      await this.#mover.take(this.#all, sequence.slot, this.#desk);
      this.#atDesk = sequence;
    }
    return this.#mover.outputsOf(this.#desk, 1);
  }

  /** Brings sequences into their slots; what a graph takes of the first `count` slots and where it writes. */
  async toSlots(sequences: readonly OwnSequence[], count: number) {
    for (const sequence of sequences) await this.#settle(sequence);
    if (sequences.some((sequence) => sequence === this.#atDesk)) await this.#clearDesk();
    return this.#mover.outputsOf(this.#all, Math.min(count, this.#slots));
  }

  /** What a sequence holds of the positions from `from` on, in JavaScript's memory. */
  async read(sequence: OwnSequence, from: number): Promise<SequenceMemory> {
    await this.#settle(sequence);
    const host =
      this.#atDesk === sequence
        ? await this.#mover.read(this.#desk, 0)
        : await this.#mover.read(this.#all, sequence.slot);
    return toMemory(this.#layout, { from, length: sequence.length }, host);
  }

  /** Forgets a sequence. */
  drop(sequence: OwnSequence): void {
    if (this.#atDesk === sequence) this.#atDesk = null;
  }

  async close(): Promise<void> {
    for (const memory of [this.#all, this.#desk, this.#start]) dispose(memory);
    await this.#mover.close();
  }

  get #layout() {
    return { config: this.#config, rows: this.#rows, capacity: this.capacity };
  }

  /** Brings what a sequence goes on from to the GPU. */
  async #settle(sequence: OwnSequence): Promise<void> {
    const { pending } = sequence;
    if (pending === null) return;
    await this.fit(sequence.length + 1);
    if (pending === 'start') await this.#mover.put(this.#start, this.#all, sequence.slot);
    else {
      await this.#clearDesk();
      const host = toHost(this.#layout, pending);
      await this.#mover.upload(host, this.#desk);
      this.#atDesk = sequence;
    }
    sequence.pending = null;
  }

  async #clearDesk(): Promise<void> {
    if (this.#atDesk) await this.#mover.put(this.#desk, this.#all, this.#atDesk.slot);
    this.#atDesk = null;
  }
}

/** The largest number from 1 to `most` that `fits`, as all below it do; 0 where none does. */
async function mostThat(fits: (count: number) => Promise<boolean>, most: number): Promise<number> {
  let [low, high] = [0, most];
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    if (await fits(middle)) low = middle;
    else high = middle - 1;
  }
  return low;
}
