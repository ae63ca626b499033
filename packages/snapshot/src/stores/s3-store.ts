import {
  damagedSession,
  isExpired,
  type Kept,
  type KeptSession,
  pageWent,
  readSession,
  refuseWhatNeverFits,
  tooMany,
  unnamedMs,
  usageOf,
  writeSession,
} from './kept-sessions.ts';
import { RecentPages } from './recent-pages.ts';
import { S3Bucket, type S3Object } from './s3-bucket.ts';
import type {
  SizedManifest,
  SnapshotStore,
  StoredManifest,
  StoredPage,
  StoreLimits,
  StoreUsage,
} from './store.ts';

/** An object that is as old as the last collection. */
const collected = 'collected';

/** A session that was read, and the version that it had. */
interface Seen {
  readonly etag: string;
  readonly kept: Kept;
}

/**
 * Snapshots in a bucket of anything that speaks S3: `<prefix>pages/<tenant>/<key>`, `<prefix>sessions/<tenant>/<session>`.
 * Manifests are replaced by conditional writes (`If-Match`, `If-None-Match`), which the server must know.
 */
export class S3Store implements SnapshotStore {
  readonly #bucket: S3Bucket;
  readonly #limits: StoreLimits;
  /** By key what sessions hold, so that only those are read that changed. */
  readonly #seen = new Map<string, Seen>();
  readonly #recent: RecentPages;

  private constructor(bucket: S3Bucket, limits: StoreLimits) {
    this.#bucket = bucket;
    this.#limits = limits;
    this.#recent = new RecentPages(unnamedMs(limits) / 2);
  }

  /** `s3://bucket/prefix?endpoint=…&region=…`: see `S3Bucket.open`, also for what it throws. */
  static async open(
    url: string,
    limits: StoreLimits,
    { readOnly = false }: { readonly readOnly?: boolean } = {},
  ): Promise<S3Store> {
    return new S3Store(await S3Bucket.open(url, readOnly), limits);
  }

  refuseWhatNeverFits(manifest: SizedManifest): void {
    refuseWhatNeverFits(manifest, this.#limits);
  }

  async missing(tenant: string, keys: readonly string[], { refresh = true } = {}): Promise<Set<string>> {
    const found = await Promise.all(
      keys.map((key) => {
        const object = this.#page(tenant, key);
        if (!refresh) return this.#bucket.modifiedAt(object).then((modified) => modified !== null);
        return this.#recent.has(object) || this.#refresh(object);
      }),
    );
    return new Set(keys.filter((_, at) => !found[at]));
  }

  async putPages(tenant: string, pages: readonly StoredPage[]): Promise<void> {
    await Promise.all(
      pages.map(async ({ key, bytes }) => {
        const [object, now] = [this.#page(tenant, key), Date.now()];
        if ((await this.#bucket.put(object, bytes)) !== null) this.#recent.add(object, now);
      }),
    );
  }

  async removePages(tenant: string, keys: readonly string[]): Promise<void> {
    await Promise.all(keys.map((key) => this.#remove(this.#page(tenant, key))));
  }

  async getPages(tenant: string, keys: readonly string[]): Promise<(Uint8Array | null)[]> {
    return Promise.all(
      keys.map(async (key) => {
        const found = await this.#bucket.get(this.#page(tenant, key));
        if (!found) this.#recent.delete(this.#page(tenant, key));
        return found?.bytes ?? null;
      }),
    );
  }

  async putManifest(
    tenant: string,
    session: string,
    manifest: StoredManifest,
    replaces: string | null,
  ): Promise<string | null> {
    this.refuseWhatNeverFits(manifest);
    const keys = manifest.pages.map(({ key }) => key);
    if ((await this.missing(tenant, keys)).size > 0) {
      throw pageWent();
    }
    const object = this.#session(tenant, session);
    const bytes = writeSession(manifest, Date.now());
    const putOn = (etag: string | null) =>
      this.#bucket.put(object, bytes, etag === null ? { IfNoneMatch: '*' } : { IfMatch: etag });
    let version = await putOn(replaces);
    if (version === null && replaces === null) {
      const found = await this.#bucket.get(object);
      const kept = found && readSession(found.bytes)?.kept;
      if (kept && isExpired(kept, this.#limits)) version = await putOn(found.etag);
    }
    if (version !== null) await this.#makeRoom(tenant, session);
    return version;
  }

  async getManifest(tenant: string, session: string) {
    const found = await this.#bucket.get(this.#session(tenant, session));
    if (!found) return null;
    const { kept, manifest: bytes } = readSession(found.bytes) ?? damagedSession(session);
    return isExpired(kept, this.#limits) ? null : { bytes, version: found.etag };
  }

  async delete(tenant: string, session: string): Promise<void> {
    await this.#remove(this.#session(tenant, session));
  }

  async usage(tenant: string): Promise<StoreUsage> {
    return usageOf(await this.#sessions(tenant));
  }

  async collect(): Promise<void> {
    const now = Date.now();
    // One of those who share the bucket is enough.
    const last = await this.#bucket.modifiedAt(collected);
    if (last !== null && last > now - unnamedMs(this.#limits) / 4) return;
    await this.#bucket.put(collected, new Uint8Array());
    const staying = await this.#forget((all) => all.filter((entry) => isExpired(entry, this.#limits)));
    await this.#collectPages(staying, now - unnamedMs(this.#limits));
  }

  async close(): Promise<void> {
    this.#bucket.close();
  }

  /** Forgets what is too old, and the oldest where there is too much; their pages are collected with others. */
  async #makeRoom(tenant: string, session: string): Promise<void> {
    await this.#forget((all) => tooMany(all, { tenant, session }, this.#limits));
  }

  /**
   * Forgets some of all sessions, and gives the others. One that somebody continues at the same moment goes all the same, since S3
   * deletes on no condition, and is computed again.
   */
  async #forget(choose: (all: readonly KeptSession[]) => KeptSession[]): Promise<KeptSession[]> {
    const all = await this.#sessions('');
    const gone = new Set(choose(all));
    await Promise.all(Array.from(gone, (entry) => this.#remove(this.#session(entry.tenant, entry.session))));
    return all.filter((entry) => !gone.has(entry));
  }

  /**
   * Removes pages that none of `staying` names, but for those put or asked for after `before`, whose manifest may be still to
   * come. `before` is earlier than `staying` was read by as long as a page counts as new.
   */
  async #collectPages(staying: readonly KeptSession[], before: number): Promise<void> {
    const named = new Set(
      staying.flatMap(({ tenant, pages }) => pages.map((key) => this.#page(tenant, key))),
    );
    let old: string[] = [];
    const removeOld = async () => {
      await Promise.all(old.map((key) => this.#removeOld(key, before)));
      old = [];
    };
    for await (const { key, modified } of this.#bucket.list('pages/')) {
      if (named.has(key) || modified >= before) continue;
      old.push(key);
      // As many at a time as there are connections.
      if (old.length === 50) await removeOld();
    }
    await removeOld();
  }

  /**
   * Removes a page unless somebody has put or asked for it since it was listed. S3 deletes on no condition that such a page
   * fails, so one that is asked for between these two requests goes all the same. Whoever asked looks again before a manifest
   * names it (see `#refresh`), and finds it missing; unless this process stops in between for as long as that takes, or somebody
   * else removes and a third puts the page meanwhile. A restore then finds the page gone, and the next cheaper way is taken.
   */
  async #removeOld(key: string, before: number): Promise<void> {
    const modified = await this.#bucket.modifiedAt(key);
    if (modified !== null && modified < before) await this.#remove(key);
  }

  /** Sessions of a tenant, or of all for ''. */
  async #sessions(tenant: string): Promise<KeptSession[]> {
    const prefix = tenant === '' ? 'sessions/' : this.#session(tenant, '');
    const listed: S3Object[] = [];
    for await (const entry of this.#bucket.list(prefix)) listed.push(entry);
    const kept = await Promise.all(listed.map(({ key, etag }) => this.#kept(key, etag)));
    return listed.flatMap(({ key }, at) => {
      const [owner = '', session = ''] = key.split('/').slice(-2);
      const entry = kept[at];
      return entry ? [{ ...entry, tenant: owner, session }] : [];
    });
  }

  async #kept(key: string, etag: string): Promise<Kept | null> {
    const seen = this.#seen.get(key);
    if (seen?.etag === etag) return seen.kept;
    const found = await this.#bucket.get(key);
    const kept = found && readSession(found.bytes)?.kept;
    if (!kept) return null;
    this.#seen.set(key, { etag: found.etag, kept });
    return kept;
  }

  /**
   * Whether a page is there; one that is old is written onto itself, so that it counts as new to whoever collects old ones.
   * One who does may be about to remove it, so it is relied on only once it is found new.
   */
  async #refresh(key: string): Promise<boolean> {
    const modified = await this.#bucket.modifiedAt(key);
    if (modified === null) return false;
    this.#recent.add(key, modified);
    if (this.#recent.has(key)) return true;
    return this.#bucket.renew(key);
  }

  async #remove(key: string): Promise<void> {
    this.#seen.delete(key);
    this.#recent.delete(key);
    await this.#bucket.remove(key);
  }

  #page(tenant: string, key: string): string {
    return `pages/${tenant}/${key}`;
  }

  #session(tenant: string, session: string): string {
    return `sessions/${tenant}/${session}`;
  }
}
