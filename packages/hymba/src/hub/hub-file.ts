import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import type { ListFileEntry } from '@huggingface/hub';

/** One file of a repository, as the hub lists it. */
export interface HubFile {
  readonly path: string;
  /** In bytes. */
  readonly size: number;
  /** Large files have the SHA-256 of their Git LFS object, small ones the SHA-1 of their git blob. */
  readonly hash: { readonly algorithm: 'sha256' | 'sha1'; readonly hex: string };
}

/** Null where the hub gives no hash, so that there is nothing to check the file against. */
export function hubFile(entry: ListFileEntry): HubFile | null {
  const { path } = entry;
  if (entry.lfs) return { path, size: entry.lfs.size, hash: { algorithm: 'sha256', hex: entry.lfs.oid } };
  if (entry.oid) return { path, size: entry.size, hash: { algorithm: 'sha1', hex: entry.oid } };
  return null;
}

/** The hash of what is at `localPath`, computed the way `file.hash` is. */
export async function hashOf(localPath: string, file: HubFile): Promise<string> {
  const hash = createHash(file.hash.algorithm);
  // git hashes a blob behind a header of its own.
  if (file.hash.algorithm === 'sha1') hash.update(`blob ${file.size}\0`);
  for await (const chunk of createReadStream(localPath, { highWaterMark: 1 << 20 })) hash.update(chunk);
  return hash.digest('hex');
}

/** Whether `localPath` already holds exactly `file`. */
export async function isComplete(localPath: string, file: HubFile): Promise<boolean> {
  const found = await stat(localPath).catch(() => null);
  if (!found?.isFile() || found.size !== file.size) return false;
  return (await hashOf(localPath, file)) === file.hash.hex;
}
