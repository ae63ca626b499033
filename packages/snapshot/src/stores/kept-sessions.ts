import { StoreFullError } from '@baton/errors';
import { SnapshotRefusal } from '../refusal.ts';
import type { SizedManifest, StoredManifest, StoreLimits, StoreUsage } from './store.ts';

/** How long a page is kept that no manifest names, in milliseconds. */
export function unnamedMs({ unnamedSeconds = 600 }: StoreLimits): number {
  return unnamedSeconds * 1000;
}

/** What a store of files or objects has to know of a session to keep its bounds. */
export interface Kept {
  readonly size: number;
  readonly storedAt: number;
  readonly pages: readonly string[];
}

export interface KeptSession extends Kept {
  readonly tenant: string;
  readonly session: string;
}

/** A manifest behind a line that tells what it keeps. */
export function writeSession(manifest: StoredManifest, storedAt: number): Uint8Array {
  const kept: Kept = { size: sizeOf(manifest), storedAt, pages: manifest.pages.map(({ key }) => key) };
  return Buffer.concat([Buffer.from(`${JSON.stringify(kept)}\n`), manifest.bytes]);
}

/** Null for what `writeSession` has not written so. */
export function readSession(
  bytes: Uint8Array,
): { readonly kept: Kept; readonly manifest: Uint8Array } | null {
  const end = bytes.indexOf(10);
  try {
    const kept: Partial<Kept> = JSON.parse(Buffer.from(bytes.subarray(0, end)).toString());
    const { size, storedAt, pages } = kept;
    if (typeof size !== 'number' || typeof storedAt !== 'number' || !Array.isArray(pages)) return null;
    return { kept: { size, storedAt, pages }, manifest: bytes.subarray(end + 1) };
  } catch {
    return null;
  }
}

/** Throws `SnapshotRefusal` for a session whose first line is not what `writeSession` writes. */
export function damagedSession(session: string): never {
  throw new SnapshotRefusal('corrupted', `what the store keeps of session ${session} is damaged`);
}

/** Whether nobody has continued a session in time. */
export function isExpired({ storedAt }: Pick<Kept, 'storedAt'>, limits: StoreLimits): boolean {
  return !(storedAt >= expiredBefore(limits));
}

/** When a session must have been stored, in ms, for its time to live not to be over. */
export function expiredBefore({ ttlSeconds }: StoreLimits): number {
  return Date.now() - ttlSeconds * 1000;
}

export function usageOf(sessions: readonly Kept[]): StoreUsage {
  return { bytes: sessions.reduce((sum, { size }) => sum + size, 0), sessions: sessions.length };
}

/** Of a manifest that names a page which somebody has taken away since it was put, or found there. */
export function pageWent(): SnapshotRefusal {
  return new SnapshotRefusal('page_missing', 'a page went before its manifest came');
}

/** Throws `StoreFullError` for a snapshot that no amount of forgetting makes room for. */
export function refuseWhatNeverFits(manifest: SizedManifest, { quotaBytes, totalBytes }: StoreLimits): void {
  const [size, most] = [sizeOf(manifest), Math.min(quotaBytes, totalBytes)];
  if (size <= most) return;
  throw new StoreFullError(`a snapshot of ${size} bytes does not fit the ${most} that a tenant may store`);
}

/**
 * Which of all sessions have to go, but for `newest`: those too old, its tenant's oldest beyond the quota, and while all
 * together have too much, the oldest of whoever has most.
 */
export function tooMany<T extends KeptSession>(
  all: readonly T[],
  newest: Pick<KeptSession, 'tenant' | 'session'>,
  limits: StoreLimits,
): T[] {
  const { quotaBytes, totalBytes } = limits;
  const gone: T[] = [];
  /** By tenant: bytes of what stays, and those that may go, the oldest first. */
  const tenants = new Map<string, { bytes: number; readonly mayGo: T[] }>();
  for (const entry of all.toSorted((a, b) => a.storedAt - b.storedAt)) {
    const isNewest = entry.tenant === newest.tenant && entry.session === newest.session;
    if (!isNewest && isExpired(entry, limits)) {
      gone.push(entry);
      continue;
    }
    const tenant = tenants.get(entry.tenant) ?? { bytes: 0, mayGo: [] };
    tenants.set(entry.tenant, tenant);
    tenant.bytes += entry.size;
    if (!isNewest) tenant.mayGo.push(entry);
  }
  const own = tenants.get(newest.tenant);
  for (;;) {
    const total = [...tenants.values()].reduce((sum, { bytes }) => sum + bytes, 0);
    const [largest] = [...tenants.values()]
      .filter(({ mayGo }) => mayGo.length > 0)
      .sort((a, b) => b.bytes - a.bytes);
    const giving = own && own.bytes > quotaBytes ? own : total > totalBytes ? largest : undefined;
    const oldest = giving?.mayGo.shift();
    if (!giving || !oldest) return gone;
    giving.bytes -= oldest.size;
    gone.push(oldest);
  }
}

/** Bytes of a manifest and its pages. */
export function sizeOf({ bytes, pages }: SizedManifest): number {
  return bytes.length + pages.reduce((sum, page) => sum + page.bytes, 0);
}
