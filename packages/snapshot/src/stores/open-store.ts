import { fileURLToPath } from 'node:url';
import { ConfigurationError } from '@baton/errors';
import { AwaitedStore, type OnStoreState } from './awaited-store.ts';
import { DiskStore } from './disk-store.ts';
import { EncryptedStore } from './encrypted-store.ts';
import { RedisStore } from './redis-store.ts';
import { S3Store } from './s3-store.ts';
import type { SnapshotStore, StoreLimits } from './store.ts';

/**
 * Opens the store that a URL names: `redis://…`, `rediss://…`, `file:///…` or `s3://bucket/prefix?endpoint=…`. With `keys`, 32
 * bytes in hexadecimal each, what it holds is encrypted: see `EncryptedStore`. With `readOnly` opening it writes nothing either.
 */
export async function openSnapshotStore(
  url: string,
  limits: StoreLimits,
  [newest, ...older]: readonly string[] = [],
  { readOnly = false }: { readonly readOnly?: boolean } = {},
): Promise<SnapshotStore> {
  const store = await openPlain(url, limits, readOnly);
  return newest === undefined ? store : new EncryptedStore(store, [newest, ...older]);
}

/** The same, where a store that does not answer now is waited for: see `AwaitedStore`. */
export function awaitSnapshotStore(
  url: string,
  limits: StoreLimits,
  { keys = [], onState }: { readonly keys?: readonly string[] | undefined; readonly onState: OnStoreState },
): Promise<SnapshotStore> {
  return AwaitedStore.open(() => openSnapshotStore(url, limits, keys), onState);
}

async function openPlain(url: string, limits: StoreLimits, readOnly: boolean): Promise<SnapshotStore> {
  const { protocol } = new URL(url);
  switch (protocol) {
    case 'redis:':
    case 'rediss:':
      return RedisStore.open(url, limits);
    case 'file:':
      return new DiskStore(fileURLToPath(url), limits);
    case 's3:':
      return S3Store.open(url, limits, { readOnly });
    default:
      throw new ConfigurationError(
        `BATON_SNAPSHOT_STORE begins with ${protocol}//; it must be redis, rediss, file or s3`,
      );
  }
}
