import { createHash, randomUUID } from 'node:crypto';
import { mkdir, open, readdir, readFile, rename, rm, stat, utimes } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { DependencyError } from '@baton/errors';
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
import type {
  SizedManifest,
  SnapshotStore,
  StoredManifest,
  StoredPage,
  StoreLimits,
  StoreUsage,
} from './store.ts';

/** How long a lock is believed. */
const lockMs = 5000;
/** What the name of a file ends with that is being written. */
const partial = '.partial';

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

  refuseWhatNeverFits(manifest: SizedManifest): void {
    refuseWhatNeverFits(manifest, this.#limits);
  }

  async missing(tenant: string, keys: readonly string[], { refresh = true } = {}): Promise<Set<string>> {
    const now = new Date();
    const missing = new Set<string>();
    for (const key of keys) {
      const file = this.#page(tenant, key);
      if (!(await present(refresh ? utimes(file, now, now) : stat(file)))) missing.add(key);
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
    this.refuseWhatNeverFits(manifest);
    const keys = manifest.pages.map(({ key }) => key);
    const stored = await this.#locked(tenant, async () => {
      const file = await readIfThere(this.#session(tenant, session));
      const current = file && readSession(file);
      const isNone = !current || (replaces === null && isExpired(current.kept, this.#limits));
      if ((isNone ? null : versionOf(current.manifest)) !== replaces) return null;
      if ((await this.missing(tenant, keys)).size > 0) {
        throw pageWent();
      }
      await writeWhole(this.#session(tenant, session), writeSession(manifest, Date.now()));
      return { version: versionOf(manifest.bytes), replaced: current?.kept };
    });
    if (!stored) return null;
    await this.#makeRoom(tenant, session, stored.replaced);
    return stored.version;
  }

  async getManifest(tenant: string, session: string) {
    const file = await readIfThere(this.#session(tenant, session));
    if (!file) return null;
    const { kept, manifest: bytes } = readSession(file) ?? damagedSession(session);
    return isExpired(kept, this.#limits) ? null : { bytes, version: versionOf(bytes) };
  }

  async delete(tenant: string, session: string): Promise<void> {
    const kept = await this.#locked(tenant, async () => {
      const file = await readIfThere(this.#session(tenant, session));
      await rm(this.#session(tenant, session), { force: true });
      return file && readSession(file)?.kept;
    });
    if (kept) await this.#dropPages(tenant, [kept], await this.#sessions(tenant));
  }

  async usage(tenant: string): Promise<StoreUsage> {
    return usageOf(await this.#sessions(tenant));
  }

  async collect(): Promise<void> {
    const before = Date.now() - unnamedMs(this.#limits);
    const staying = await this.#forget((all) => all.filter((entry) => isExpired(entry, this.#limits)));
    await this.#collectPages(staying, before);
  }

  async close(): Promise<void> {}

  /** Forgets what is too old, and the oldest where there is too much, and pages that went out of use with what was replaced. */
  async #makeRoom(tenant: string, session: string, replaced: Kept | undefined): Promise<void> {
    const staying = await this.#forget((all) => tooMany(all, { tenant, session }, this.#limits));
    if (replaced) await this.#dropPages(tenant, [replaced], staying.get(tenant) ?? []);
  }

  /**
   * Forgets some of all sessions, and pages that go out of use with them. Holds one tenant's lock at a time. Gives what stays, by
   * tenant.
   */
  async #forget(
    choose: (all: readonly KeptSession[]) => KeptSession[],
  ): Promise<ReadonlyMap<string, readonly KeptSession[]>> {
    const tenants = await list(this.#folder);
    const all = (await Promise.all(tenants.map((name) => this.#sessions(name)))).flat();
    const gone = new Set(choose(all));
    const staying = Map.groupBy(
      all.filter((entry) => !gone.has(entry)),
      (entry) => entry.tenant,
    );
    for (const [owner, some] of Map.groupBy(gone, (entry) => entry.tenant)) {
      await this.#locked(owner, async () => {
        for (const { session, storedAt } of some) {
          const file = await readIfThere(this.#session(owner, session));
          // Unless somebody has continued it since.
          if (file && readSession(file)?.kept.storedAt === storedAt)
            await rm(this.#session(owner, session), { force: true });
        }
      });
      await this.#dropPages(owner, some, staying.get(owner) ?? []);
    }
    return staying;
  }

  /** Removes pages of what is stored no more that none of `staying` names, and nobody else has put or asked for since. */
  async #dropPages(tenant: string, gone: readonly Kept[], staying: readonly Kept[]): Promise<void> {
    const named = new Set(staying.flatMap(({ pages }) => pages));
    const unnamed = gone.flatMap(({ pages, storedAt }) =>
      pages.flatMap((key) => (named.has(key) ? [] : [{ key, until: storedAt }])),
    );
    await this.#removeUntouched(tenant, unnamed);
  }

  /**
   * Removes pages that no session came to name and nobody has put or asked for after `before`, which is earlier than
   * `staying` was read; so too what writers left half written that are gone.
   */
  async #collectPages(staying: ReadonlyMap<string, readonly Kept[]>, before: number): Promise<void> {
    for (const tenant of await list(this.#folder)) {
      const named = new Set(staying.get(tenant)?.flatMap(({ pages }) => pages));
      const old: { readonly key: string; readonly until: number }[] = [];
      for (const key of await list(join(this.#folder, tenant, 'pages'))) {
        if (!named.has(key) && (await modifiedAt(this.#page(tenant, key))) <= before)
          old.push({ key, until: before });
      }
      await this.#removeUntouched(tenant, old);
      for (const name of await list(join(this.#folder, tenant))) {
        const file = join(this.#folder, tenant, name);
        if (name.endsWith(partial) && (await modifiedAt(file)) <= before) await rm(file, { force: true });
      }
    }
  }

  /**
   * Removes pages that no session named at `until`, unless they were put, asked for or named later: each of these makes a
   * page newer, and naming does so under the lock.
   */
  async #removeUntouched(
    tenant: string,
    pages: readonly { readonly key: string; readonly until: number }[],
  ): Promise<void> {
    // Some at a time, so that the lock is never held for long.
    for (let at = 0; at < pages.length; at += 256) {
      await this.#locked(tenant, async () => {
        for (const { key, until } of pages.slice(at, at + 256)) {
          const file = this.#page(tenant, key);
          if ((await modifiedAt(file)) <= until) await rm(file, { force: true });
        }
      });
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
  const temporary = join(dirname(dirname(file)), `${randomUUID()}${partial}`);
  const handle = await open(temporary, 'wx');
  try {
    await handle.writeFile(bytes);
    await handle.sync();
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
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

/** When a file was changed last, in ms; `Infinity` for one that is not there. */
async function modifiedAt(file: string): Promise<number> {
  return Math.round((await stat(file).catch(() => null))?.mtimeMs ?? Number.POSITIVE_INFINITY);
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
