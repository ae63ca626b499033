import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type SessionState, type StateDelta, type StateLayout, tokensOf } from '@baton/engine';
import type { CodecTier } from './codec/tiers.ts';
import { Snapshots, type SnapshotsOptions } from './snapshots.ts';
import { DiskStore } from './stores/disk-store.ts';
import { noiseState } from './testing.ts';

export const layout: StateLayout = {
  kvHeads: 2,
  keySize: 8,
  valueSize: 16,
  windows: [null, 100, null, 100],
  layers: 3,
  conv: [3, 32],
  ssm: [4, 32],
  rotation: { offset: 5, frequencies: [1, 0.3, 0.1, 0.03] },
};
export const fingerprint = 'ab'.repeat(32);
export const model = { fingerprint, vocabularySize: 1000, contextLength: 1000 };
export const ref = { tenant: 'acme', session: 'resp_1' };
export const ids = (count: number) => Array.from({ length: count }, (_, i) => (i * 7919) % 1000);

/** `state` up to `tokens`, as an engine that had run so far would tell it: rows from `from` on. */
export function upTo(whole: SessionState, tokens: number, from: number): StateDelta {
  const [delta] = whole as [StateDelta];
  const { kvHeads, keySize, valueSize, windows } = layout;
  const caches = windows.map((window, cache) => {
    const first = Math.max(from, tokens - (window ?? tokens));
    const rows = delta.caches[cache] as StateDelta['caches'][number];
    const cut = (all: Float32Array, width: number) =>
      Float32Array.from({ length: kvHeads * (tokens - first) * width }, (_, at) => {
        const head = Math.floor(at / ((tokens - first) * width));
        const rest = at - head * (tokens - first) * width;
        return all[(head * rows.count + first) * width + rest] ?? 0;
      });
    return { count: tokens - first, keys: cut(rows.keys, keySize), values: cut(rows.values, valueSize) };
  });
  return { ...delta, tokens, from, caches };
}

/** All rows of all tokens, so that any state before can be cut out of it. */
export const history = noiseState({ ...layout, windows: layout.windows.map(() => null) }, 400, fingerprint);

/** What a model would read of a state: the rows that it still holds, in order. */
export function held(state: SessionState) {
  const tokens = tokensOf(state);
  return layout.windows.map((window, cache) => {
    const rows = new Map<number, string>();
    for (const delta of state) {
      const { count, keys, values } = delta.caches[cache] as StateDelta['caches'][number];
      for (let at = 0; at < count; at++) {
        const row = [0, 1].map((head) => [
          ...keys.slice((head * count + at) * layout.keySize, (head * count + at + 1) * layout.keySize),
          ...values.slice((head * count + at) * layout.valueSize, (head * count + at + 1) * layout.valueSize),
        ]);
        rows.set(delta.tokens - count + at, JSON.stringify(row));
      }
    }
    return [...rows].filter(([token]) => token >= tokens - (window ?? tokens)).sort(([a], [b]) => a - b);
  });
}

/** What `ref` is restored to for a session `next`. Throws where it is not. */
export async function restored(
  snapshots: Snapshots,
  tokens: readonly number[],
  next = ref,
): Promise<SessionState> {
  const result = await snapshots.restore(ref, tokens, next);
  if (result.kind !== 'restored') throw new Error(JSON.stringify(result));
  return result.state;
}

/** Why `from` is not restored; `restored` where it is. */
export async function refusalOf(snapshots: Snapshots, from = ref, tokens = ids(400)): Promise<string> {
  const result = await snapshots.restore(from, tokens, from);
  return result.kind === 'refused' ? result.reason : result.kind;
}

/** A store on disk, and the snapshots of workers that share it. */
export class TestBench {
  readonly folder: string;
  readonly store: DiskStore;

  private constructor(folder: string) {
    this.folder = folder;
    this.store = new DiskStore(folder, { ttlSeconds: 3600, quotaBytes: 1e9, totalBytes: 1e9 });
  }

  static async start(): Promise<TestBench> {
    return new TestBench(await mkdtemp(join(tmpdir(), 'baton-snapshots-')));
  }

  /** The snapshots of a worker that begins, and does not know what is stored. */
  open(
    tier: CodecTier = 'exact',
    overrides: Partial<Pick<SnapshotsOptions, 'model' | 'layout'>> = {},
  ): Snapshots {
    return new Snapshots({ store: this.store, tier, layout, model, ...overrides });
  }

  async stop(): Promise<void> {
    await rm(this.folder, { recursive: true });
  }
}
