import { createHash, randomUUID } from 'node:crypto';
import { mkdir, open, readdir, readFile, rename, rm, stat, utimes } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { DependencyError, ServerError, StoreFullError } from '@baton/errors';
import type { SnapshotStore, StoredManifest, StoredPage, StoreLimits, StoreUsage } from './store.ts';

/** How long a page is kept that no manifest names, and how long a lock is believed. */
const unnamedMs = 600_000;
const lockMs = 5000;

interface Entry {
  readonly session: string;
  readonly file: string;
  readonly storedAt: number;
  readonly size: number;
  readonly pages: readonly string[];
}

/**
 * Snapshots in a folder that the workers of one machine share: `<tenant>/pages/<key>`, `<tenant>/sessions/<session>`. Files
 * appear whole or not at all, also when the machine loses power.
 */
export class DiskStore implements SnapshotStore {
  readonly #folder: string;
  readonly #limits: StoreLimits;

  constructor(folder: string, limits: StoreLimits) {
    this.#folder = folder;
    this.#limits = limits;
  }

  async missing(tenant: string, keys: readonly string[]): Promise<Set<string>> {
    const now = new Date();
    const missing = new Set<string>();
    for (const key of keys) {
      if (!(await present(utimes(this.#page(tenant, key), now, now)))) missing.add(key);
    }
    return missing;
  }

  async putPages(tenant: string, pages: readonly StoredPage[]): Promise<void> {
    for (const { key, bytes } of pages) await writeWhole(this.#page(tenant, key), [bytes]);
  }

  async getPages(tenant: string, keys: readonly string[]): Promise<(Uint8Array | null)[]> {
    return Promise.all(keys.map((key) => readIfThere(this.#page(tenant, key))));
  }

  async putManifest(
    tenant: string,
    session: string,
    { bytes, pages }: StoredManifest,
    replaces: string | null,
  ): Promise<string | null> {
    const size = bytes.length + pages.reduce((sum, page) => sum + page.bytes, 0);
    const { quotaBytes, totalBytes } = this.#limits;
    if (size > Math.min(quotaBytes, totalBytes)) {
      throw new StoreFullError(
        `a snapshot of ${size} bytes does not fit the ${Math.min(quotaBytes, totalBytes)} that a tenant may store`,
      );
    }
    const keys = pages.map(({ key }) => key);
    return this.#locked(tenant, async () => {
      const current = await this.getManifest(tenant, session);
      if ((current?.version ?? null) !== replaces) return null;
      if ((await this.missing(tenant, keys)).size > 0) {
        throw new ServerError('a page went before its manifest came; it is put again');
      }
      const head = Buffer.from(`${JSON.stringify({ size, pages: keys })}\n`);
      await writeWhole(this.#session(tenant, session), [head, bytes]);
      await this.#makeRoom(tenant);
      return versionOf(bytes);
    });
  }

  async getManifest(tenant: string, session: string) {
    const file = await readIfThere(this.#session(tenant, session));
    if (!file) return null;
    const bytes = file.subarray(file.indexOf(10) + 1);
    return { bytes, version: versionOf(bytes) };
  }

  async delete(tenant: string, session: string): Promise<void> {
    await this.#locked(tenant, async () => {
      await rm(this.#session(tenant, session), { force: true });
      await this.#dropPages(tenant, await this.#entries(tenant));
    });
  }

  async usage(tenant: string): Promise<StoreUsage> {
    const entries = await this.#entries(tenant);
    return { bytes: entries.reduce((sum, { size }) => sum + size, 0), sessions: entries.length };
  }

  async close(): Promise<void> {}

  /** Forgets what is too old, and the oldest where there is too much. */
  async #makeRoom(tenant: string): Promise<void> {
    const { ttlSeconds, quotaBytes, totalBytes } = this.#limits;
    const before = Date.now() - ttlSeconds * 1000;
    const entries = await this.#entries(tenant);
    const tenants = await readdir(this.#folder);
    const others = await Promise.all(
      tenants.filter((name) => name !== tenant).map((name) => this.usage(name)),
    );
    const room = Math.min(quotaBytes, totalBytes - others.reduce((sum, { bytes }) => sum + bytes, 0));
    let bytes = entries.reduce((sum, { size }) => sum + size, 0);
    const kept: Entry[] = [];
    for (const [index, entry] of entries.entries()) {
      const isLast = index === entries.length - 1;
      if (isLast || (entry.storedAt >= before && bytes <= room)) {
        kept.push(entry);
        continue;
      }
      bytes -= entry.size;
      await rm(entry.file, { force: true });
    }
    if (kept.length < entries.length) await this.#dropPages(tenant, kept);
  }

  /** Removes pages that no session names, but for those put lately, whose manifest is still to come. */
  async #dropPages(tenant: string, entries: readonly Entry[]): Promise<void> {
    const named = new Set(entries.flatMap(({ pages }) => pages));
    const before = Date.now() - unnamedMs;
    for (const key of await list(join(this.#folder, tenant, 'pages'))) {
      const file = this.#page(tenant, key);
      if (named.has(key) || ((await stat(file).catch(() => null))?.mtimeMs ?? before) > before) continue;
      await rm(file, { force: true });
    }
  }

  /** A tenant's sessions, the one stored longest ago first. */
  async #entries(tenant: string): Promise<Entry[]> {
    const sessions = await list(join(this.#folder, tenant, 'sessions'));
    const entries = await Promise.all(
      sessions.map(async (session): Promise<Entry[]> => {
        const file = this.#session(tenant, session);
        const [bytes, status] = await Promise.all([readIfThere(file), stat(file).catch(() => null)]);
        if (!bytes || !status) return [];
        const { size, pages } = JSON.parse(bytes.subarray(0, bytes.indexOf(10)).toString());
        return [{ session, file, storedAt: status.mtimeMs, size, pages }];
      }),
    );
    return entries.flat().sort((a, b) => a.storedAt - b.storedAt);
  }

  /** Runs `work` while no other process changes what this tenant has. */
  async #locked<T>(tenant: string, work: () => Promise<T>): Promise<T> {
    const lock = join(this.#folder, tenant, 'lock');
    await mkdir(dirname(lock), { recursive: true });
    const deadline = Date.now() + 2 * lockMs;
    for (;;) {
      try {
        await (await open(lock, 'wx')).close();
        break;
      } catch (error) {
        if (!isCode(error, 'EEXIST')) throw error;
        const age = Date.now() - ((await stat(lock).catch(() => null))?.mtimeMs ?? Date.now());
        // Whoever made it is gone.
        if (age > lockMs) await rm(lock, { force: true });
        if (Date.now() > deadline) throw new DependencyError('disk', `${lock} stays locked`);
        await sleep(5);
      }
    }
    try {
      return await work();
    } finally {
      await rm(lock, { force: true });
    }
  }

  #page(tenant: string, key: string): string {
    return join(this.#folder, tenant, 'pages', key);
  }

  #session(tenant: string, session: string): string {
    return join(this.#folder, tenant, 'sessions', session);
  }
}

function versionOf(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

/** Writes a file that nobody sees before it is whole and on the disk. */
async function writeWhole(file: string, parts: readonly Uint8Array[]): Promise<void> {
  await mkdir(dirname(file), { recursive: true });
  const temporary = join(dirname(dirname(file)), `${randomUUID()}.partial`);
  const handle = await open(temporary, 'wx');
  try {
    await handle.writev(
      parts.map(({ buffer, byteOffset, byteLength }) => Buffer.from(buffer, byteOffset, byteLength)),
    );
    await handle.sync();
  } finally {
    await handle.close();
  }
  await rename(temporary, file);
}

async function readIfThere(file: string): Promise<Buffer | null> {
  return readFile(file).catch((error: unknown) => {
    if (isCode(error, 'ENOENT')) return null;
    throw error;
  });
}

async function list(folder: string): Promise<string[]> {
  return readdir(folder).catch(() => []);
}

async function present(work: Promise<unknown>): Promise<boolean> {
  return work.then(
    () => true,
    (error: unknown) => {
      if (isCode(error, 'ENOENT')) return false;
      throw error;
    },
  );
}

function isCode(error: unknown, code: string): boolean {
  return error instanceof Error && 'code' in error && error.code === code;
}
