import { openSnapshotStore, type SnapshotStore } from '@baton/snapshot';

/** Variables that say how workers keep snapshots, beside where. */
export const snapshotVariables = ['BATON_SNAPSHOT_KEYS', 'BATON_SNAPSHOT_TTL_HOURS'] as const;

/** The store that a URL names, to look into it. */
export function openStoredSnapshots(
  url: string,
  env: {
    readonly BATON_SNAPSHOT_KEYS?: readonly string[] | undefined;
    readonly BATON_SNAPSHOT_TTL_HOURS: number;
  },
): Promise<SnapshotStore> {
  const unlimited = Number.MAX_SAFE_INTEGER;
  const ttlSeconds = env.BATON_SNAPSHOT_TTL_HOURS * 3600;
  return openSnapshotStore(
    url,
    { ttlSeconds, quotaBytes: unlimited, totalBytes: unlimited },
    env.BATON_SNAPSHOT_KEYS,
  );
}
