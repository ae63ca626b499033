import { fileURLToPath } from 'node:url';
import { ConfigurationError } from '@baton/errors';
import { DiskStore } from './disk-store.ts';
import { RedisStore } from './redis-store.ts';
import type { SnapshotStore, StoreLimits } from './store.ts';

/** Opens the store that a URL names: `redis://…`, `rediss://…` or `file:///…`. */
export async function openSnapshotStore(url: string, limits: StoreLimits): Promise<SnapshotStore> {
  const { protocol } = new URL(url);
  switch (protocol) {
    case 'redis:':
    case 'rediss:':
      return RedisStore.open(url, limits);
    case 'file:':
      return new DiskStore(fileURLToPath(url), limits);
    default:
      throw new ConfigurationError(
        `BATON_SNAPSHOT_STORE begins with ${protocol}//; it must be redis, rediss or file`,
      );
  }
}
