import { createHash, randomUUID } from 'node:crypto';
import { mkdir, open, readdir, readFile, rename, rm, stat, utimes } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { DependencyError, ServerError } from '@baton/errors';
import {
  damagedSession,
  type KeptSession,
  readSession,
  refuseWhatNeverFits,
  tooMany,
  unnamedMs,
  usageOf,
  writeSession,
} from './kept-sessions.ts';
import type { SnapshotStore, StoredManifest, StoredPage, StoreLimits, StoreUsage } from './store.ts';

/** How long a lock is believed. */
const lockMs = 5000;

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
    for (const { key, bytes } of pages) await writeWhole(this.#page(tenant, key), bytes);
  }

  async removePages(tenant: string, keys: readonly string[]): Promise<void> {
    for (const key of keys) await rm(this.#page(tenant, key), { force: true });
  }

  async getPages(tenant: string, keys: readonly string[]): Promise<(Uint8Array | null)[]> {
    return Promise.all(keys.map((key) => readIfThere(this.#page(tenant, key))));
  }

  async putManifest(
    tenant: string,
    session: string,
    manifest: StoredManifest,
    replaces: string | null,
  ): Promise<string | null> {
    refuseWhatNeverFits(manifest, this.#limits);
    const keys = manifest.pages.map(({ key }) => key);
    const version = await this.#locked(tenant, async () => {
      const file = await readIfThere(this.#session(tenant, session));
      const current = file && readSession(file)?.manifest;
      if ((current ? versionOf(current) : null) !== replaces) return null;
      if ((await this.missing(tenant, keys)).size > 0) {
        throw new ServerError('a page went before its manifest came; it is put again');
      }
      await writeWhole(this.#session(tenant, session), writeSession(manifest, Date.now()));
      return versionOf(manifest.bytes);
    });
    if (version !== null) await this.#makeRoom(tenant, session);
    return version;
  }

  async getManifest(tenant: string, session: string) {
    const file = await readIfThere(this.#session(tenant, session));
    if (!file) return null;
    const { manifest: bytes } = readSession(file) ?? damagedSession(session);
    return { bytes, version: versionOf(bytes) };
  }

  async delete(tenant: string, session: string): Promise<void> {
    await this.#forget(tenant, [session]);
  }

  async usage(tenant: string): Promise<StoreUsage> {
    return usageOf(await this.#sessions(tenant));
  }

  async close(): Promise<void> {}

  /** Forgets what is too old, and the oldest where there is too much. Holds one tenant's lock at a time. */
  async #makeRoom(tenant: string, session: string): Promise<void> {
    const tenants = await list(this.#folder);
    const all = (await Promise.all(tenants.map((name) => this.#sessions(name)))).flat();
    const gone = tooMany(all, { tenant, session }, this.#limits);
    for (const [owner, some] of Map.groupBy(gone, (entry) => entry.tenant)) {
      await this.#forget(
        owner,
        some.map((entry) => entry.session),
      );
    }
  }

  async #forget(tenant: string, sessions: readonly string[]): Promise<void> {
    await this.#locked(tenant, async () => {
      for (const session of sessions) await rm(this.#session(tenant, session), { force: true });
      await this.#dropPages(tenant);
    });
  }

  /** Removes pages that no session names, but for those put or asked for lately, whose manifest is still to come. */
  async #dropPages(tenant: string): Promise<void> {
    const named = new Set((await this.#sessions(tenant)).flatMap(({ pages }) => pages));
    const before = Date.now() - unnamedMs(this.#limits);
    for (const key of await list(join(this.#folder, tenant, 'pages'))) {
      const file = this.#page(tenant, key);
      if (named.has(key) || ((await stat(file).catch(() => null))?.mtimeMs ?? before) > before) continue;
      await rm(file, { force: true });
    }
  }

  async #sessions(tenant: string): Promise<KeptSession[]> {
    const sessions = await list(join(this.#folder, tenant, 'sessions'));
    const files = await Promise.all(sessions.map((session) => readIfThere(this.#session(tenant, session))));
    return files.flatMap((file, at) => {
      const kept = file && readSession(file)?.kept;
      return kept ? [{ ...kept, tenant, session: String(sessions[at]) }] : [];
    });
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
async function writeWhole(file: string, bytes: Uint8Array): Promise<void> {
  await mkdir(dirname(file), { recursive: true });
  const temporary = join(dirname(dirname(file)), `${randomUUID()}.partial`);
  const handle = await open(temporary, 'wx');
  try {
    await handle.writeFile(bytes);
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
