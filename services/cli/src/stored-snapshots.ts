import {
  decodeManifest,
  encryptionOverhead,
  type Manifest,
  openSnapshotStore,
  type PageEntry,
} from '@baton/snapshot';

/** Variables that say how workers keep snapshots, beside where. */
export const snapshotVariables = ['BATON_SNAPSHOT_KEYS', 'BATON_SNAPSHOT_TTL_HOURS'] as const;

interface SnapshotEnv {
  readonly BATON_SNAPSHOT_KEYS?: readonly string[] | undefined;
  readonly BATON_SNAPSHOT_TTL_HOURS: number;
}

/** A session's snapshot, with bytes as they are stored, encrypted or not. */
export interface StoredSnapshot extends Manifest {
  readonly manifestBytes: number;
  /** Bytes of the manifest and all pages. */
  readonly storedBytes: number;
  readonly isEncrypted: boolean;
  /** How many of its pages are gone. */
  readonly missing: number;
}

/** What the store that a URL names has of a session; null for nothing. Throws `SnapshotRefusal` for what cannot be read. */
export async function readStoredSnapshot(
  url: string,
  { BATON_SNAPSHOT_KEYS: encryption, BATON_SNAPSHOT_TTL_HOURS: hours }: SnapshotEnv,
  { tenant, session }: { readonly tenant: string; readonly session: string },
): Promise<StoredSnapshot | null> {
  const unlimited = Number.MAX_SAFE_INTEGER;
  const limits = { ttlSeconds: hours * 3600, quotaBytes: unlimited, totalBytes: unlimited };
  const store = await openSnapshotStore(url, limits, encryption, { readOnly: true });
  try {
    const stored = await store.getManifest(tenant, session);
    if (!stored) return null;
    const manifest = decodeManifest(stored.bytes, { tenant, session });
    const keys = manifest.pages.map(({ key }) => key);
    const { size: missing } = await store.missing(tenant, keys, { refresh: false });
    const overhead = encryption ? encryptionOverhead : 0;
    const pages = manifest.pages.map((page): PageEntry => ({ ...page, bytes: page.bytes + overhead }));
    const manifestBytes = stored.bytes.length + overhead;
    const storedBytes = pages.reduce((sum, { bytes }) => sum + bytes, manifestBytes);
    return { ...manifest, pages, manifestBytes, storedBytes, missing, isEncrypted: overhead > 0 };
  } finally {
    await store.close();
  }
}
