/** A page to store, under the key that is its content's hash. */
export interface StoredPage {
  readonly key: string;
  readonly bytes: Uint8Array;
}

/** What names a session's pages. */
export interface StoredManifest {
  readonly bytes: Uint8Array;
  /** Keys of the pages that it needs, and how many bytes they have. */
  readonly pages: readonly { readonly key: string; readonly bytes: number }[];
}

/** As much of a manifest as tells its size. */
export interface SizedManifest {
  readonly bytes: { readonly length: number };
  readonly pages: readonly { readonly bytes: number }[];
}

export interface StoreUsage {
  readonly bytes: number;
  readonly sessions: number;
}

/**
 * Where snapshots are kept. A tenant's pages are found under its name only, so that no tenant can learn what another one
 * has. Methods throw `DependencyError` soon where the store does not answer, and `StoreFullError` where there is no room.
 */
export interface SnapshotStore {
  /** Which of the pages are not there; those that are stay for a while longer, unless `refresh` is false: then nothing changes. */
  missing(
    tenant: string,
    keys: readonly string[],
    options?: { readonly refresh?: boolean },
  ): Promise<Set<string>>;
  /** Throws `StoreFullError` for a snapshot that no amount of forgetting makes room for: its pages need not be put. */
  refuseWhatNeverFits(manifest: SizedManifest): void;
  /** Keeps pages for a short while, until a manifest names them. */
  putPages(tenant: string, pages: readonly StoredPage[]): Promise<void>;
  /** Takes pages away that are damaged: whoever needs one finds it missing, and stores it again. */
  removePages(tenant: string, keys: readonly string[]): Promise<void>;
  /** In the order of `keys`; null for what is not there. */
  getPages(tenant: string, keys: readonly string[]): Promise<(Uint8Array | null)[]>;
  /**
   * Compare-and-set: `replaces` is the version read or written before, null for none. Gives the new version, or null where
   * another is there, and not too old. From then on its pages stay until the manifest is replaced, deleted or forgotten. Throws
   * `SnapshotRefusal` (`page_missing`) where one has gone since it was put.
   */
  putManifest(
    tenant: string,
    session: string,
    manifest: StoredManifest,
    replaces: string | null,
  ): Promise<string | null>;
  /** Null for a session that is not there, or whose time to live is over. Throws `SnapshotRefusal` where what is there is none any more. */
  getManifest(
    tenant: string,
    session: string,
  ): Promise<{ readonly bytes: Uint8Array; readonly version: string } | null>;
  /** Forgets a session, and the pages that no other one of its tenant names. */
  delete(tenant: string, session: string): Promise<void>;
  usage(tenant: string): Promise<StoreUsage>;
  /**
   * Forgets sessions whose time to live is over, and removes pages that no session names and nobody has put or asked for lately.
   * To be called now and then by those who share a store, who may do so at once: see `collectNowAndThen`.
   */
  collect(): Promise<void>;
  close(): Promise<void>;
}

/** Bounds that every store keeps. */
export interface StoreLimits {
  /** Seconds until a session is forgotten that nobody continues. */
  readonly ttlSeconds: number;
  /** Bytes of one tenant's sessions; beyond them its oldest are forgotten. A shared page counts for each that names it. */
  readonly quotaBytes: number;
  /** Bytes of all sessions; beyond them the oldest of all are forgotten. */
  readonly totalBytes: number;
  /** Seconds that a page is kept which no manifest names, for one may be about to: 600 by default. */
  readonly unnamedSeconds?: number;
}
