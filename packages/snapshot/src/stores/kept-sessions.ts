import { StoreFullError } from '@baton/errors';
import type { StoredManifest, StoreLimits } from './store.ts';

/** How long a page is kept that no manifest names. */
export const unnamedMs = 600_000;

/** What a store of files or objects has to know of a session to keep its bounds. */
export interface Kept {
  readonly size: number;
  readonly storedAt: number;
  readonly pages: readonly string[];
}

/** A manifest behind a line that tells what it keeps. */
export function writeSession(manifest: StoredManifest, storedAt: number): Uint8Array {
  const kept: Kept = { size: sizeOf(manifest), storedAt, pages: manifest.pages.map(({ key }) => key) };
  return Buffer.concat([Buffer.from(`${JSON.stringify(kept)}\n`), manifest.bytes]);
}

export function readSession(bytes: Uint8Array): { readonly kept: Kept; readonly manifest: Uint8Array } {
  const end = bytes.indexOf(10);
  return {
    kept: JSON.parse(Buffer.from(bytes.subarray(0, end)).toString()),
    manifest: bytes.subarray(end + 1),
  };
}

/** Throws `StoreFullError` for a snapshot that no amount of forgetting makes room for. */
export function refuseWhatNeverFits(manifest: StoredManifest, { quotaBytes, totalBytes }: StoreLimits): void {
  const [size, most] = [sizeOf(manifest), Math.min(quotaBytes, totalBytes)];
  if (size <= most) return;
  throw new StoreFullError(`a snapshot of ${size} bytes does not fit the ${most} that a tenant may store`);
}

/** Which of a tenant's sessions have to go: those too old, and the oldest while all need more than there is room; `newest` stays. */
export function tooMany<T extends Kept & { readonly session: string }>(
  own: readonly T[],
  newest: string,
  all: readonly Kept[],
  { ttlSeconds, quotaBytes, totalBytes }: StoreLimits,
): T[] {
  const bytesOf = (some: readonly Kept[]) => some.reduce((sum, { size }) => sum + size, 0);
  const before = Date.now() - ttlSeconds * 1000;
  let bytes = bytesOf(own);
  const room = Math.min(quotaBytes, totalBytes - (bytesOf(all) - bytes));
  return own
    .toSorted((a, b) => a.storedAt - b.storedAt)
    .filter((entry) => {
      if (entry.session === newest || (entry.storedAt >= before && bytes <= room)) return false;
      bytes -= entry.size;
      return true;
    });
}

function sizeOf({ bytes, pages }: StoredManifest): number {
  return bytes.length + pages.reduce((sum, page) => sum + page.bytes, 0);
}
