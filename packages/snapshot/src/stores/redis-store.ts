import { createHash } from 'node:crypto';
import { BatonError } from '@baton/errors';
import { snapshotKeys, snapshotOldest, snapshotTenants } from '@baton/protocol';
import { connectRedis, RedisHealth } from '@baton/redis';
import type { Redis } from 'ioredis';
import { SnapshotRefusal } from '../refusal.ts';
import {
  expiredBefore,
  isExpired,
  pageWent,
  refuseWhatNeverFits,
  sizeOf,
  unnamedMs,
} from './kept-sessions.ts';
import { scripts } from './redis-scripts.ts';
import type {
  SizedManifest,
  SnapshotStore,
  StoredManifest,
  StoredPage,
  StoreLimits,
  StoreUsage,
} from './store.ts';

/** Pages a command carries, so that none holds Redis up. */
const batch = 64;

type Scripts = {
  [Name in keyof typeof scripts]: (keys: number, ...args: (string | number | Buffer)[]) => Promise<unknown>;
};

/** Snapshots in Redis. A session that nobody continues is forgotten with its time to live. */
export class RedisStore implements SnapshotStore {
  readonly #client: Redis & Scripts;
  readonly #health: RedisHealth;
  readonly #limits: StoreLimits;

  private constructor(client: Redis, health: RedisHealth, limits: StoreLimits) {
    for (const [name, lua] of Object.entries(scripts)) client.defineCommand(name, { lua });
    this.#client = client as Redis & Scripts;
    this.#health = health;
    this.#limits = limits;
  }

  /** Throws `DependencyError` where Redis does not answer now; later outages end by themselves. */
  static async open(url: string, limits: StoreLimits): Promise<RedisStore> {
    const health = new RedisHealth(url, () => {});
    const client = await connectRedis(url, health, {
      enableOfflineQueue: false,
      maxRetriesPerRequest: 0,
      commandTimeout: 1000,
    });
    return new RedisStore(client, health, limits);
  }

  refuseWhatNeverFits(manifest: SizedManifest): void {
    refuseWhatNeverFits(manifest, this.#limits);
  }

  async missing(tenant: string, keys: readonly string[], { refresh = true } = {}): Promise<Set<string>> {
    const { page } = snapshotKeys(tenant);
    const missing = new Set<string>();
    await this.#inBatches(keys, async (some) => {
      const pipeline = this.#client.pipeline();
      // Only ever longer: a page that a manifest names lives longer than this already.
      if (refresh) for (const key of some) pipeline.pexpire(page(key), unnamedMs(this.#limits), 'GT');
      for (const key of some) pipeline.exists(page(key));
      const answers = (await pipeline.exec())?.slice(-some.length) ?? [];
      for (const [index, key] of some.entries()) if (answers[index]?.[1] !== 1) missing.add(key);
    });
    return missing;
  }

  async putPages(tenant: string, pages: readonly StoredPage[]): Promise<void> {
    const { page } = snapshotKeys(tenant);
    await this.#inBatches(pages, async (some) => {
      const pipeline = this.#client.pipeline();
      for (const { key, bytes } of some)
        pipeline.set(page(key), asBuffer(bytes), 'PX', unnamedMs(this.#limits), 'NX');
      for (const [error] of (await pipeline.exec()) ?? []) if (error) throw error;
    });
  }

  async removePages(tenant: string, keys: readonly string[]): Promise<void> {
    const { page } = snapshotKeys(tenant);
    await this.#inBatches(keys, async (some) => {
      await this.#client.unlink(some.map(page));
    });
  }

  async getPages(tenant: string, keys: readonly string[]): Promise<(Uint8Array | null)[]> {
    const { page } = snapshotKeys(tenant);
    const found: (Uint8Array | null)[] = [];
    await this.#inBatches(keys, async (some) => {
      found.push(...(await this.#client.mgetBuffer(some.map(page))));
    });
    return found;
  }

  async putManifest(
    tenant: string,
    session: string,
    manifest: StoredManifest,
    replaces: string | null,
  ): Promise<string | null> {
    this.refuseWhatNeverFits(manifest);
    const { bytes, pages } = manifest;
    const { ttlSeconds } = this.#limits;
    const version = createHash('sha256').update(bytes).digest('hex');
    const keys = snapshotKeys(tenant);
    return this.#ask(async () => {
      const answer = await this.#client.putManifest(
        4,
        keys.session(session),
        keys.references,
        keys.sessions,
        keys.bytes,
        keys.page(''),
        session,
        replaces ?? '',
        version,
        asBuffer(bytes),
        sizeOf(manifest),
        Date.now(),
        // Pages outlive the session that names them, which is forgotten by its time.
        2 * ttlSeconds * 1000 + unnamedMs(this.#limits),
        expiredBefore(this.#limits),
        ...pages.map(({ key }) => key),
      );
      if (answer === 'conflict') return null;
      if (answer === 'missing') throw pageWent();
      await this.#makeRoom(tenant, session);
      return version;
    });
  }

  async getManifest(tenant: string, session: string) {
    return this.#ask(async () => {
      const keys = snapshotKeys(tenant);
      const [[bytes, version], storedAt] = await Promise.all([
        this.#client.hmgetBuffer(keys.session(session), 'bytes', 'version'),
        this.#client.zscore(keys.sessions, session),
      ]);
      if (!bytes || !version || isExpired({ storedAt: Number(storedAt) }, this.#limits)) return null;
      return { bytes, version: version.toString() };
    });
  }

  async delete(tenant: string, session: string): Promise<void> {
    await this.#ask(async () => {
      await this.#forget(tenant, [session]);
    });
  }

  async usage(tenant: string): Promise<StoreUsage> {
    return this.#ask(async () => {
      const keys = snapshotKeys(tenant);
      const [bytes, sessions] = await Promise.all([
        this.#client.get(keys.bytes),
        this.#client.zcard(keys.sessions),
      ]);
      return { bytes: Number(bytes ?? 0), sessions };
    });
  }

  async collect(): Promise<void> {
    await this.#ask(async () => {
      while (await this.#forgetExpired());
    });
  }

  async close(): Promise<void> {
    this.#client.disconnect();
  }

  /** Forgets what is too old, whosever it is, and but for `newest` the oldest of whoever has too much. */
  async #makeRoom(tenant: string, newest: string): Promise<void> {
    const { quotaBytes, totalBytes } = this.#limits;
    await this.#noteUse(tenant);
    await this.#forgetExpired();
    while ((await this.usage(tenant)).bytes > quotaBytes && (await this.#forgetOldest(tenant, newest)));
    /** Those of whom nothing may go. */
    const passed = new Set<string>();
    for (;;) {
      const tenants = await this.#client.zrange(snapshotTenants, '0', '-1', 'WITHSCORES');
      const total = tenants.reduce((sum, entry, at) => (at % 2 === 1 ? sum + Number(entry) : sum), 0);
      const largest = tenants.findLast((entry, at) => at % 2 === 0 && !passed.has(entry));
      if (total <= totalBytes || largest === undefined) return;
      if (!(await this.#forgetOldest(largest, largest === tenant ? newest : null))) passed.add(largest);
    }
  }

  /** Forgets some of what is too old, whosever it is; false where there was nothing. Redis lets pages that nobody names go itself. */
  async #forgetExpired(): Promise<boolean> {
    const before = expiredBefore(this.#limits);
    const owners = await this.#storedBefore(snapshotOldest, before);
    for (const owner of owners) {
      await this.#forget(owner, await this.#storedBefore(snapshotKeys(owner).sessions, before), before);
    }
    return owners.length > 0;
  }

  /** Some of a set's members by time. */
  #storedBefore(set: string, milliseconds: number): Promise<string[]> {
    return this.#client.zrange(set, '0', String(milliseconds), 'BYSCORE', 'LIMIT', 0, batch);
  }

  /** False where there is none but `newest`. */
  async #forgetOldest(tenant: string, newest: string | null): Promise<boolean> {
    const sessions = await this.#client.zrange(snapshotKeys(tenant).sessions, '0', '1');
    const oldest = sessions.find((session) => session !== newest);
    await this.#forget(tenant, oldest === undefined ? [] : [oldest]);
    return oldest !== undefined;
  }

  /** Of `sessions` those that were stored last by `before`. */
  async #forget(
    tenant: string,
    sessions: readonly string[],
    before = Number.MAX_SAFE_INTEGER,
  ): Promise<void> {
    const keys = snapshotKeys(tenant);
    for (const session of sessions) {
      const where = [keys.session(session), keys.references, keys.sessions, keys.bytes];
      await this.#client.forget(4, ...where, keys.page(''), session, before);
    }
    await this.#noteUse(tenant);
  }

  /** Brings up to date what is known over all tenants of this one. */
  async #noteUse(tenant: string): Promise<void> {
    const { bytes } = await this.usage(tenant);
    const [oldest, storedAt] = await this.#client.zrange(
      snapshotKeys(tenant).sessions,
      '0',
      '0',
      'WITHSCORES',
    );
    const all = this.#client.pipeline();
    if (oldest === undefined || storedAt === undefined) {
      all.zrem(snapshotTenants, tenant).zrem(snapshotOldest, tenant);
    } else {
      all.zadd(snapshotTenants, String(bytes), tenant).zadd(snapshotOldest, storedAt, tenant);
    }
    for (const [error] of (await all.exec()) ?? []) if (error) throw error;
  }

  async #inBatches<T>(items: readonly T[], work: (some: readonly T[]) => Promise<void>): Promise<void> {
    await this.#ask(async () => {
      for (let at = 0; at < items.length; at += batch) await work(items.slice(at, at + batch));
    });
  }

  async #ask<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      if (error instanceof BatonError || error instanceof SnapshotRefusal) throw error;
      throw this.#health.unavailable(error);
    }
  }
}

function asBuffer({ buffer, byteOffset, byteLength }: Uint8Array): Buffer {
  return Buffer.from(buffer, byteOffset, byteLength);
}
