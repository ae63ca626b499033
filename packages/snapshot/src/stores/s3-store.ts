import {
  CopyObjectCommand,
  DeleteObjectCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  S3Client,
  S3ServiceException,
} from '@aws-sdk/client-s3';
import { BatonError, ConfigurationError, DependencyError, ServerError } from '@baton/errors';
import {
  damagedSession,
  type Kept,
  type KeptSession,
  readSession,
  refuseWhatNeverFits,
  tooMany,
  unnamedMs,
  usageOf,
  writeSession,
} from './kept-sessions.ts';
import { RecentPages } from './recent-pages.ts';
import type { SnapshotStore, StoredManifest, StoredPage, StoreLimits, StoreUsage } from './store.ts';

/** A session that was read, and the version that it had. */
interface Seen {
  readonly etag: string;
  readonly kept: Kept;
}

interface Listed {
  readonly key: string;
  readonly etag: string;
  readonly modified: number;
}

/**
 * Snapshots in a bucket of anything that speaks S3: `<prefix>pages/<tenant>/<key>`, `<prefix>sessions/<tenant>/<session>`.
 * Manifests are replaced by conditional writes (`If-Match`, `If-None-Match`), which the server must know.
 */
export class S3Store implements SnapshotStore {
  readonly #client: S3Client;
  readonly #bucket: string;
  readonly #prefix: string;
  readonly #limits: StoreLimits;
  /** By key what sessions hold, so that only those are read that changed. */
  readonly #seen = new Map<string, Seen>();
  readonly #recent: RecentPages;

  private constructor(client: S3Client, bucket: string, prefix: string, limits: StoreLimits) {
    this.#client = client;
    this.#bucket = bucket;
    this.#prefix = prefix;
    this.#limits = limits;
    this.#recent = new RecentPages(unnamedMs(limits) / 2);
  }

  /**
   * `s3://bucket/prefix?endpoint=…&region=…`; credentials, and what the query leaves out, as the AWS tools find them. Throws
   * `DependencyError` where the bucket does not answer, `ConfigurationError` where it ignores conditions.
   */
  static async open(url: string, limits: StoreLimits): Promise<S3Store> {
    const { hostname: bucket, pathname, searchParams } = new URL(url);
    const endpoint = searchParams.get('endpoint');
    const region = searchParams.get('region') ?? (endpoint === null ? null : 'us-east-1');
    const client = new S3Client({
      ...(endpoint !== null && { endpoint, forcePathStyle: true }),
      ...(region !== null && { region }),
      // A busy server is asked again after a while; one that is away is given up after seconds.
      maxAttempts: 4,
      requestHandler: { connectionTimeout: 3000, requestTimeout: 10_000 },
      // Pages are checked by their own hashes, and not every server knows these checksums.
      requestChecksumCalculation: 'WHEN_REQUIRED',
      responseChecksumValidation: 'WHEN_REQUIRED',
    });
    const prefix = pathname.replace(/^\/+|\/+$/g, '');
    const store = new S3Store(client, bucket, prefix === '' ? '' : `${prefix}/`, limits);
    try {
      await store.#checkConditions();
    } catch (error) {
      client.destroy();
      throw error;
    }
    return store;
  }

  async missing(tenant: string, keys: readonly string[]): Promise<Set<string>> {
    const found = await Promise.all(
      keys.map((key) => {
        const object = this.#page(tenant, key);
        return this.#recent.has(object) || this.#refresh(object);
      }),
    );
    return new Set(keys.filter((_, at) => !found[at]));
  }

  async putPages(tenant: string, pages: readonly StoredPage[]): Promise<void> {
    await Promise.all(
      pages.map(async ({ key, bytes }) => {
        const [object, now] = [this.#page(tenant, key), Date.now()];
        if ((await this.#put(object, bytes)) !== null) this.#recent.add(object, now);
      }),
    );
  }

  async removePages(tenant: string, keys: readonly string[]): Promise<void> {
    await Promise.all(keys.map((key) => this.#remove(this.#page(tenant, key))));
  }

  async getPages(tenant: string, keys: readonly string[]): Promise<(Uint8Array | null)[]> {
    return Promise.all(
      keys.map(async (key) => {
        const found = await this.#get(this.#page(tenant, key));
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
    refuseWhatNeverFits(manifest, this.#limits);
    const keys = manifest.pages.map(({ key }) => key);
    if ((await this.missing(tenant, keys)).size > 0) {
      throw new ServerError('a page went before its manifest came; it is put again');
    }
    const condition = replaces === null ? { IfNoneMatch: '*' } : { IfMatch: replaces };
    const bytes = writeSession(manifest, Date.now());
    const version = await this.#put(this.#session(tenant, session), bytes, condition);
    if (version !== null) await this.#makeRoom(tenant, session);
    return version;
  }

  async getManifest(tenant: string, session: string) {
    const found = await this.#get(this.#session(tenant, session));
    if (!found) return null;
    const { manifest: bytes } = readSession(found.bytes) ?? damagedSession(session);
    return { bytes, version: found.etag };
  }

  async delete(tenant: string, session: string): Promise<void> {
    await this.#remove(this.#session(tenant, session));
    await this.#dropPages(tenant, await this.#sessions(tenant));
  }

  async usage(tenant: string): Promise<StoreUsage> {
    return usageOf(await this.#sessions(tenant));
  }

  async close(): Promise<void> {
    this.#client.destroy();
  }

  /** Two writes on the condition that nothing is there: one of them has to fail. */
  async #checkConditions(): Promise<void> {
    const key = `${this.#prefix}conditions`;
    const write = () => this.#put(key, new Uint8Array(), { IfNoneMatch: '*' });
    if ((await write()) !== null && (await write()) !== null) {
      throw new ConfigurationError(
        `the S3 server of bucket ${this.#bucket} ignores If-None-Match; snapshots need conditional writes`,
      );
    }
  }

  /** Forgets what is too old, and the oldest where there is too much. */
  async #makeRoom(tenant: string, newest: string): Promise<void> {
    const all = await this.#sessions('');
    const gone = tooMany(all, { tenant, session: newest }, this.#limits);
    await Promise.all(gone.map((entry) => this.#remove(this.#session(entry.tenant, entry.session))));
    for (const owner of new Set(gone.map((entry) => entry.tenant))) {
      await this.#dropPages(
        owner,
        all.filter((entry) => entry.tenant === owner && !gone.includes(entry)),
      );
    }
  }

  /** Removes pages that no session names, but for those put or asked for lately, whose manifest is still to come. */
  async #dropPages(tenant: string, sessions: readonly Kept[]): Promise<void> {
    const named = new Set(sessions.flatMap(({ pages }) => pages.map((key) => this.#page(tenant, key))));
    const before = Date.now() - unnamedMs(this.#limits);
    const pages = await this.#list(this.#page(tenant, ''));
    const old = pages.filter(({ key, modified }) => !named.has(key) && modified < before);
    await Promise.all(old.map(({ key }) => this.#remove(key)));
  }

  /** Sessions of a tenant, or of all for ''. */
  async #sessions(tenant: string): Promise<KeptSession[]> {
    const listed = await this.#list(tenant === '' ? `${this.#prefix}sessions/` : this.#session(tenant, ''));
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
    const found = await this.#get(key);
    const kept = found && readSession(found.bytes)?.kept;
    if (!kept) return null;
    this.#seen.set(key, { etag: found.etag, kept });
    return kept;
  }

  /** Whether a page is there; one that is old is written onto itself, so that it counts as new to whoever collects old ones. */
  async #refresh(key: string): Promise<boolean> {
    const where = { Bucket: this.#bucket, Key: key };
    const head = await this.#ask(() => this.#client.send(new HeadObjectCommand(where)));
    if (!head) return false;
    const now = Date.now();
    this.#recent.add(key, head.LastModified?.getTime() ?? 0);
    if (this.#recent.has(key)) return true;
    const copy = new CopyObjectCommand({
      ...where,
      CopySource: `${this.#bucket}/${key}`,
      MetadataDirective: 'REPLACE',
    });
    if ((await this.#ask(() => this.#client.send(copy))) === null) return false;
    this.#recent.add(key, now);
    return true;
  }

  async #list(prefix: string): Promise<Listed[]> {
    const listed: Listed[] = [];
    let next: string | undefined;
    do {
      const answer = await this.#ask(() =>
        this.#client.send(
          new ListObjectsV2Command({ Bucket: this.#bucket, Prefix: prefix, ContinuationToken: next }),
        ),
      );
      for (const { Key, ETag, LastModified } of answer?.Contents ?? []) {
        listed.push({ key: String(Key), etag: String(ETag), modified: LastModified?.getTime() ?? 0 });
      }
      next = answer?.NextContinuationToken;
    } while (next !== undefined);
    return listed;
  }

  async #get(key: string): Promise<{ readonly bytes: Uint8Array; readonly etag: string } | null> {
    return this.#ask(async () => {
      const { Body, ETag } = await this.#client.send(
        new GetObjectCommand({ Bucket: this.#bucket, Key: key }),
      );
      return Body ? { bytes: await Body.transformToByteArray(), etag: String(ETag) } : null;
    });
  }

  /** Gives the object's version, or null where the condition does not hold. */
  async #put(
    key: string,
    bytes: Uint8Array,
    condition: { readonly IfNoneMatch?: string; readonly IfMatch?: string } = {},
  ): Promise<string | null> {
    const put = new PutObjectCommand({ Bucket: this.#bucket, Key: key, Body: bytes, ...condition });
    return this.#ask(async () => String((await this.#client.send(put)).ETag));
  }

  async #remove(key: string): Promise<void> {
    this.#seen.delete(key);
    this.#recent.delete(key);
    await this.#ask(() => this.#client.send(new DeleteObjectCommand({ Bucket: this.#bucket, Key: key })));
  }

  /** Null for what is not there, and where a condition does not hold or somebody else writes just now. */
  async #ask<T>(work: () => Promise<T>): Promise<T | null> {
    try {
      return await work();
    } catch (error) {
      if (error instanceof BatonError) throw error;
      const status = error instanceof S3ServiceException ? error.$metadata.httpStatusCode : undefined;
      const missingBucket = error instanceof S3ServiceException && error.name === 'NoSuchBucket';
      if (!missingBucket && (status === 404 || status === 409 || status === 412)) return null;
      const reason = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
      throw new DependencyError('s3', `the S3 store does not answer as it should: ${reason}`, {
        cause: error,
      });
    }
  }

  #page(tenant: string, key: string): string {
    return `${this.#prefix}pages/${tenant}/${key}`;
  }

  #session(tenant: string, session: string): string {
    return `${this.#prefix}sessions/${tenant}/${session}`;
  }
}
