import type { EngineModel, StateLayout } from '@baton/engine';
import type { CodecTier } from '../codec/tiers.ts';
import type { SnapshotService } from '../snapshot-service.ts';
import type { StoreLimits } from '../stores/store.ts';

/** What the snapshots' thread is started with. */
export interface SnapshotSettings {
  /** Where snapshots are kept: see `openSnapshotStore`. */
  readonly storeUrl: string;
  readonly limits: StoreLimits;
  /** What encrypts it: see `openSnapshotStore`. */
  readonly keys?: readonly string[];
  readonly tier: CodecTier;
  readonly layout: StateLayout;
  readonly model: EngineModel;
}

type Method = 'save' | 'restore' | 'renew' | 'delete' | 'release';

/** A call of the service; states in it are shared memory, and so not copied. */
export type ToThread =
  | {
      [M in Method]: {
        readonly id: number;
        readonly method: M;
        readonly args: Parameters<SnapshotService[M]>;
      };
    }[Method]
  | { readonly id: number; readonly method: 'close'; readonly args: [] };

export type FromThread =
  | { readonly type: 'ready' }
  /** Why the store cannot be used, and null once it can. */
  | { readonly type: 'store'; readonly outage: string | null }
  | { readonly type: 'refused'; readonly message: string }
  | { readonly type: 'done'; readonly id: number; readonly result: unknown };
