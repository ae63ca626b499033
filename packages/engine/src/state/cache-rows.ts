import type { HymbaConfig, KvCacheSpec } from '@baton/hymba';
import { rowLimit } from './state-size.ts';

/**
 * Where positions lie in the caches of one kind. A global cache holds every position in its own row; a sliding one holds
 * the meta tokens and after them a ring of the last `slidingWindow` positions.
 */
export abstract class CacheRows {
  readonly kind: KvCacheSpec['kind'];
  /** The most rows that a sequence can come to need. */
  readonly limit: number;
  readonly #metaTokens: number;

  constructor(kind: KvCacheSpec['kind'], config: HymbaConfig) {
    this.kind = kind;
    this.limit = rowLimit(config, kind);
    this.#metaTokens = config.metaTokens;
  }

  /** Rows of a sequence for each head, filled or not. */
  abstract get capacity(): number;

  /** The first position, from the prompt's on, that is still held of the positions below `length`. */
  firstHeld(length: number): number {
    return Math.max(this.#metaTokens, this.#metaTokens + length - this.limit);
  }

  /** Whether `position` is still held where `length` positions have been fed. */
  holds(position: number, length: number): boolean {
    return position < this.#metaTokens || position >= this.firstHeld(length);
  }

  /** The row of a position: where it lies, or will overwrite what left the window. */
  rowOf(position: number): number {
    if (position < this.#metaTokens) return position;
    return this.#metaTokens + ((position - this.#metaTokens) % (this.limit - this.#metaTokens));
  }
}
