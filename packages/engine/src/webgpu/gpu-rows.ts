import type { HymbaConfig, KvCacheSpec } from '@baton/hymba';
import { bucketOf } from '../state/state-size.ts';

export type Kind = KvCacheSpec['kind'];

/** WebGPU reads four floats at a time where a cache's rows come in fours. */
const rowStep = 4;

/**
 * Where positions lie in the caches of one kind. A global cache holds every position in its own row; a sliding one holds the
 * meta tokens and after them a ring, with room for the window and for a chunk of new tokens, which are written before the
 * first of them looks back.
 */
export class GpuRows {
  readonly kind: Kind;
  /** The most rows that a sequence can come to need. */
  readonly limit: number;
  readonly #metaTokens: number;
  readonly #window: number;

  constructor(kind: Kind, { metaTokens, slidingWindow, contextLength }: HymbaConfig, chunk: number) {
    this.kind = kind;
    this.#metaTokens = metaTokens;
    this.#window = kind === 'sliding' && slidingWindow !== null ? slidingWindow : contextLength;
    const needed = metaTokens + Math.min(this.#window + chunk, contextLength);
    this.limit = Math.ceil(needed / rowStep) * rowStep;
  }

  /** Rows to have room for where sequences have up to `length` positions. */
  capacity(length: number): number {
    return Math.min(this.limit, Math.ceil(bucketOf(Math.max(1, length), this.limit) / rowStep) * rowStep);
  }

  rowOf(position: number): number {
    if (position < this.#metaTokens) return position;
    return this.#metaTokens + ((position - this.#metaTokens) % (this.limit - this.#metaTokens));
  }

  /** The first position, from the prompt's on, that is still seen of the positions below `length`. */
  firstHeld(length: number): number {
    return Math.max(this.#metaTokens, length - this.#window);
  }
}

/** Both kinds' rows. */
export type RowsByKind = Readonly<Record<Kind, GpuRows>>;
/** Both kinds' numbers of rows for each sequence. */
export type Capacity = Readonly<Record<Kind, number>>;

export function rowsByKind(config: HymbaConfig, chunk: number): RowsByKind {
  return { global: new GpuRows('global', config, chunk), sliding: new GpuRows('sliding', config, chunk) };
}

export function capacityFor({ global, sliding }: RowsByKind, length: number): Capacity {
  return { global: global.capacity(length), sliding: sliding.capacity(length) };
}

/** Bytes that a slot takes where the longest of them holds `tokens` tokens, the meta tokens not counted. */
export function gpuSlotBytes(config: HymbaConfig, rows: RowsByKind, tokens: number): number {
  const { caches, kvHeads, keySize, valueSize, layers, innerSize, stateSize, convKernel, metaTokens } =
    config;
  const capacity = capacityFor(rows, metaTokens + tokens);
  const recurrent = layers * innerSize * (stateSize + convKernel - 1);
  const cached = caches.reduce((sum, { kind }) => sum + capacity[kind] * kvHeads * (keySize + valueSize), 0);
  return Float32Array.BYTES_PER_ELEMENT * (recurrent + cached + capacity.global + capacity.sliding);
}
