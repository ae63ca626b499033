import { mkdir, stat, statfs } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { ConfigurationError } from '@baton/errors';
import { type LockOptions, lock } from 'proper-lockfile';
import { readConfig } from '../config.ts';
import { explainDiskError } from './disk-errors.ts';
import { downloadFile, partialPath, removePartials } from './download-file.ts';
import type { HubRepository } from './hub-errors.ts';
import { retrying } from './hub-fetch.ts';
import { type HubFile, isComplete } from './hub-file.ts';
import { listWanted } from './list-wanted.ts';
import type { PullEvent } from './pull-event.ts';

export interface PullOptions {
  /** The hub's address: `HF_ENDPOINT`. Default: https://huggingface.co. */
  readonly endpoint?: string | undefined;
  /** A read token, `hf_…`: `HF_TOKEN`. */
  readonly token?: string | undefined;
  /** Branch, tag or commit. Default: `main`. */
  readonly revision?: string | undefined;
  onProgress?(event: PullEvent): void;
}

export interface PulledModel {
  /** Absolute path of the folder that holds the checkpoint. */
  readonly folder: string;
  /** The commit that was pulled. */
  readonly revision: string;
  /** Size of the model's files in bytes, those included that were there already. */
  readonly bytes: number;
}

/**
 * Downloads what Baton needs of the checkpoint `repoId` from a Hugging Face hub into the folder `destination`, checks
 * each file's size and hash, and leaves alone what is there already. An interrupted pull goes on where it stopped.
 * One pull at a time works in a destination; others wait for it.
 *
 * Throws `ConfigurationError` (token, destination, disk space), `NotFoundError` (no such model or revision),
 * `OverloadedError` (rate limit), `DependencyError` (hub unreachable) or `CheckpointError` (not a checkpoint, or
 * damaged on the way); each message says what to do next.
 */
export async function pullModel(
  repoId: string,
  destination: string,
  options: PullOptions = {},
): Promise<PulledModel> {
  const onProgress = options.onProgress ?? (() => {});
  const folder = resolve(destination);
  const named = checkedRepository(repoId, options);
  await mkdir(folder, { recursive: true }).catch((error: unknown) => {
    throw explainDiskError(error, folder);
  });
  const release = await lockFolder(folder, () => onProgress({ kind: 'waiting' }));
  try {
    const onRetry = (reason: string) => onProgress({ kind: 'retry', file: null, reason });
    const { commit, files } = await retrying(() => listWanted(named), { retries: 2, onRetry });
    const repository = { ...named, revision: commit };
    const total = files.reduce((sum, file) => sum + file.size, 0);
    onProgress({ kind: 'listed', revision: commit, files: files.length, bytes: total });
    const missing = await missingOf(files, folder);
    await checkSpace(folder, missing);

    let bytes = 0;
    for (const file of files) {
      const report = (kind: 'progress' | 'done', fileBytes: number) =>
        onProgress({ kind, file: file.path, fileBytes, bytes: bytes + fileBytes });
      if (missing.includes(file)) {
        await downloadFile(repository, file, folder, {
          onBytes: (fileBytes) => report('progress', fileBytes),
          onRetry: (reason) => onProgress({ kind: 'retry', file: file.path, reason }),
        });
      }
      report('done', file.size);
      bytes += file.size;
      // Refuses what Baton does not compute before the weights are downloaded.
      if (file.path === 'config.json') await readConfig(folder);
    }
    await removePartials(folder, files);
    return { folder, revision: commit, bytes };
  } finally {
    // Whoever took the lock over, had this pull stalled, is the one to release it.
    await release().catch(() => {});
  }
}

function checkedRepository(repoId: string, options: PullOptions): HubRepository {
  const endpoint = (options.endpoint || 'https://huggingface.co').replace(/\/+$/, '');
  const token = options.token || undefined;
  if (!/^[\w.-]+\/[\w.-]+$/.test(repoId)) {
    throw new ConfigurationError(
      `${repoId} is not a model of the hub: write owner/name, like nvidia/Hymba-1.5B-Base`,
    );
  }
  if (!URL.canParse(endpoint) || !/^https?:/.test(endpoint)) {
    throw new ConfigurationError(
      `HF_ENDPOINT=${endpoint} must be a URL that starts with https:// or http://`,
    );
  }
  if (token && !token.startsWith('hf_')) {
    throw new ConfigurationError('HF_TOKEN must be a token of the hub, which starts with hf_');
  }
  return { endpoint, repoId, token, revision: options.revision || 'main' };
}

async function missingOf(files: readonly HubFile[], folder: string): Promise<HubFile[]> {
  const missing: HubFile[] = [];
  for (const file of files) if (!(await isComplete(join(folder, file.path), file))) missing.push(file);
  return missing;
}

/** Refuses before the first byte what will not fit. */
async function checkSpace(folder: string, missing: readonly HubFile[]): Promise<void> {
  let needed = 0;
  for (const file of missing) {
    const partial = await stat(partialPath(folder, file)).catch(() => null);
    needed += file.size - (partial?.size ?? 0);
  }
  const { bavail, bsize } = await statfs(folder);
  if (needed <= bavail * bsize) return;
  throw new ConfigurationError(
    `${folder} has ${gigabytes(bavail * bsize)} free, the model needs ${gigabytes(needed)}: free some or choose another destination`,
  );
}

const gigabytes = (bytes: number): string => `${(bytes / 1e9).toFixed(1)} GB`;

/** Locks are kept alive by their holder and taken over ten seconds after it died. */
async function lockFolder(folder: string, onWait: () => void): Promise<() => Promise<void>> {
  const options: LockOptions = {
    lockfilePath: join(folder, '.pull.lock'),
    // Two writers do each other no harm (see `download-file.ts`), so losing the lock is no reason to stop.
    onCompromised: () => {},
  };
  try {
    return await lock(folder, options);
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ELOCKED')) {
      throw explainDiskError(error, folder);
    }
  }
  onWait();
  return lock(folder, { ...options, retries: { forever: true, minTimeout: 500, maxTimeout: 500 } });
}
