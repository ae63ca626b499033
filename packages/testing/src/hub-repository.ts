import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';

export interface Entry {
  readonly path: string;
  readonly content: Buffer;
  readonly lfs: boolean;
  /** SHA-256 of a file in LFS, else the SHA-1 of its git blob. */
  readonly hash: string;
}

export interface Repository {
  /** A commit's name that changes with the content. */
  readonly commit: string;
  readonly files: readonly Entry[];
  /** As the hub's tree call lists it. */
  readonly listing: readonly unknown[];
}

/** Reads the files of `folder` as the repository `id`; *.safetensors are in LFS, as the hub sets it up. */
export async function readRepository(
  id: string,
  folder: string,
  claimedSizes: Readonly<Record<string, number>> = {},
): Promise<Repository> {
  const files: Entry[] = [];
  const listing: unknown[] = [];
  for (const item of await readdir(folder, { withFileTypes: true })) {
    const path = item.name;
    if (item.isDirectory()) {
      listing.push({ type: 'directory', oid: gitBlob(Buffer.from(path)), size: 0, path });
      continue;
    }
    const content = await readFile(join(folder, path));
    const lfs = path.endsWith('.safetensors');
    const hash = lfs ? createHash('sha256').update(content).digest('hex') : gitBlob(content);
    const size = claimedSizes[path] ?? content.byteLength;
    const pointer = `version https://git-lfs.github.com/spec/v1\noid sha256:${hash}\nsize ${size}\n`;
    files.push({ path, content, lfs, hash });
    listing.push({
      type: 'file',
      oid: lfs ? gitBlob(Buffer.from(pointer)) : hash,
      size,
      path,
      ...(lfs ? { lfs: { oid: hash, size, pointerSize: pointer.length } } : {}),
    });
  }
  return { commit: gitBlob(Buffer.from(JSON.stringify([id, listing]))), files, listing };
}

function gitBlob(content: Buffer): string {
  return createHash('sha1').update(`blob ${content.byteLength}\0`).update(content).digest('hex');
}
