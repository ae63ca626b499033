import { constants, open, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { CheckpointError, DependencyError } from '@baton/errors';
import { explainDiskError } from './disk-errors.ts';
import type { HubRepository } from './hub-errors.ts';
import { bodyOf, hubFetch, retrying } from './hub-fetch.ts';
import { type HubFile, isComplete } from './hub-file.ts';

interface DownloadOptions {
  /** Called with the number of bytes of the file that are on disk. */
  onBytes(bytes: number): void;
  onRetry(reason: string): void;
}

/**
 * Downloads `file` into `folder`: first into `<file>.<hash>.partial`, going on from where an earlier download of the
 * same content stopped, then, once size and hash are right, by rename to its name. `repository.revision` must be a
 * commit, so that all parts are of one version.
 * Throws `CheckpointError` where the content is not what the hub listed, else the errors of `hub-errors.ts`.
 */
export async function downloadFile(
  repository: HubRepository,
  file: HubFile,
  folder: string,
  options: DownloadOptions,
): Promise<void> {
  const partial = partialPath(folder, file);
  let furthest = -1;
  let before = -1;
  await retrying(
    () => {
      before = furthest;
      return fetchRest(repository, file, partial, (bytes) => {
        furthest = Math.max(furthest, bytes);
        options.onBytes(bytes);
      });
    },
    { retries: 5, onRetry: options.onRetry, madeProgress: () => furthest > before },
  );
  const target = join(folder, file.path);
  if (await isComplete(partial, file)) return rename(partial, target);
  // A pull that stalled so long that another took its place finds that one's work.
  if (await isComplete(target, file)) return;
  await rm(partial, { force: true });
  const { algorithm, hex } = file.hash;
  throw new CheckpointError(
    'invalid_checkpoint',
    `${file.path} arrived damaged and was deleted (its ${algorithm} is not ${hex}): pull again`,
    { file: file.path },
  );
}

const partialSuffix = '.partial';

/** Where `file` grows until it is complete. Its hash is in the name, so what is there can be gone on from. */
export function partialPath(folder: string, file: HubFile): string {
  return join(folder, `${file.path}.${file.hash.hex}${partialSuffix}`);
}

/** Deletes what interrupted downloads of other versions of these files left in `folder`. */
export async function removePartials(folder: string, files: readonly HubFile[]): Promise<void> {
  for (const name of await readdir(folder)) {
    if (name.endsWith(partialSuffix) && files.some((file) => name.startsWith(`${file.path}.`))) {
      await rm(join(folder, name));
    }
  }
}

/**
 * Fetches what `partial` still lacks. The client's own download functions cannot resume: they do not tell a server that
 * ignores `Range`, and so starts over, from one that goes on.
 */
async function fetchRest(
  repository: HubRepository,
  file: HubFile,
  partial: string,
  onBytes: (bytes: number) => void,
): Promise<void> {
  try {
    // Neither appending nor truncating: the file's name fixes its content, so every write puts the right bytes in the
    // right place, whoever else may still be writing.
    await using handle = await open(partial, constants.O_RDWR | constants.O_CREAT);
    let position = (await handle.stat()).size;
    onBytes(position);
    if (position >= file.size) return;
    const { endpoint, repoId, revision } = repository;
    const response = await hubFetch(repository)(`${endpoint}/${repoId}/resolve/${revision}/${file.path}`, {
      headers: {
        Range: `bytes=${position}-`,
        // A compressed answer would be counted, and gone on from, in the wrong bytes.
        'Accept-Encoding': 'identity',
        ...(repository.token ? { Authorization: `Bearer ${repository.token}` } : {}),
      },
    });
    if (response.status !== 206) position = 0;
    for await (const chunk of bodyOf(response)) {
      for (let written = 0; written < chunk.byteLength; ) {
        const { bytesWritten } = await handle.write(chunk, written, null, position);
        written += bytesWritten;
        position += bytesWritten;
      }
      onBytes(position);
    }
    await handle.sync();
    if (position < file.size) {
      throw new DependencyError(
        'hub',
        `${file.path} stopped at byte ${position} of ${file.size}: pull again to go on`,
      );
    }
  } catch (error) {
    throw explainDiskError(error, partial);
  }
}
