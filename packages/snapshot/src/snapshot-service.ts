import type { SessionState } from '@baton/engine';
import type { RefusalReason } from './refusal.ts';

/** Whose state: a generation's, or a shared prompt's. */
export interface SessionRef {
  readonly tenant: string;
  readonly session: string;
}

export interface SaveReport {
  /** How many tokens the stored state remembers. */
  readonly tokens: number;
  /** Bytes of all its values as float32, of all its pages, and of those that had to be stored now. */
  readonly rawBytes: number;
  readonly storedBytes: number;
  readonly newBytes: number;
  readonly milliseconds: number;
}

export type SaveResult =
  | ({ readonly kind: 'saved' } & SaveReport)
  | { readonly kind: 'failed'; readonly reason: string; readonly message: string };

export type RestoreResult =
  | { readonly kind: 'none' }
  | { readonly kind: 'refused'; readonly reason: RefusalReason; readonly message: string }
  | {
      readonly kind: 'restored';
      readonly state: SessionState;
      /** Bytes fetched, and how long fetching and decoding took. */
      readonly bytes: number;
      readonly milliseconds: number;
    };

/** What a worker asks of its snapshots. Nothing here throws: a generation goes on without them. */
export interface SnapshotService {
  /** Stores `state`, which remembers the first of `tokens`. */
  save(ref: SessionRef, state: SessionState, tokens: readonly number[]): Promise<SaveResult>;
  /**
   * The state of `ref` where it remembers some of the first `tokens`, and no others. What is saved as `next` from then on
   * keeps the pages that it came from.
   */
  restore(ref: SessionRef, tokens: readonly number[], next: SessionRef): Promise<RestoreResult>;
  /** A session that is used, though nobody continues it, begins its time to live anew; at most every ten minutes. */
  renew(ref: SessionRef): Promise<void>;
  /** Takes a session out of the store. */
  delete(ref: SessionRef): Promise<void>;
  /** Nothing more is saved as `ref` here. */
  release(ref: SessionRef): void;
  close(): Promise<void>;
}
