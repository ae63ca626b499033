import { access, mkdir, readdir, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { ConfigurationError } from '@baton/errors';
import { lock } from 'proper-lockfile';
import { checkpointHash } from './checkpoint-hash.ts';
import { type ConvertOptions, convert, isPartialOf } from './convert.ts';
import { type ConvertedModel, manifestFile, modelFormat, openModel } from './converted-model.ts';
import { explainDiskError } from './hub/disk-errors.ts';
import { defaultKvCache } from './kv-cache-form.ts';

/**
 * Opens a model that is converted already, or converts a checkpoint once: its converted folder stays in `cacheDir`, under
 * the hash of the checkpoint and its forms of weights and cache. Of several processes that ask at once one converts and the others wait for it; one that
 * died in the middle holds them up for ten seconds. Throws as `convert` and `openModel` do, and `ConfigurationError` where
 * a converted model has other forms than are asked for.
 */
export async function ensureConverted(
  model: string,
  cacheDir: string,
  options: ConvertOptions = {},
): Promise<ConvertedModel> {
  if (await isConverted(model)) return openConverted(model, options);
  const target = await cachePath(model, cacheDir, options).catch((error: unknown) => {
    throw explainDiskError(error, cacheDir);
  });
  const cached = await openModel(target).catch(() => null);
  if (cached) return cached;

  const release = await lock(target, {
    realpath: false,
    lockfilePath: `${target}.lock`,
    retries: { forever: true, minTimeout: 100, maxTimeout: 500 },
    // Two conversions do each other no harm, so losing the lock is no reason to stop.
    onCompromised: () => {},
  });
  try {
    const meanwhile = await openModel(target).catch(() => null);
    if (meanwhile) return meanwhile;
    await removeLeftovers(target);
    return await convert(model, target, options);
  } finally {
    // A lock that was lost cannot be released, and need not be.
    await release().catch(() => {});
  }
}

async function openConverted(folder: string, { weights, kvCache }: ConvertOptions): Promise<ConvertedModel> {
  const model = await openModel(folder);
  if (weights !== undefined && weights !== model.weightForm) {
    throw new ConfigurationError(
      `${folder} is converted to ${model.weightForm} already; for ${weights}, give the folder of its checkpoint`,
    );
  }
  if (kvCache !== undefined && kvCache !== model.kvCache) {
    throw new ConfigurationError(
      `${folder} is converted for a ${model.kvCache} KV cache already; for ${kvCache}, give the folder of its checkpoint`,
    );
  }
  return model;
}

async function cachePath(
  model: string,
  cacheDir: string,
  { weights = 'fp32', kvCache = defaultKvCache(weights) }: ConvertOptions,
): Promise<string> {
  await mkdir(cacheDir, { recursive: true });
  const hash = await checkpointHash(model, join(cacheDir, 'hashes'));
  return join(cacheDir, `${hash.slice(0, 32)}-${weights}-${kvCache}-v${modelFormat}`);
}

/** Whoever holds the lock is alone here: what is there is damaged or was left by a process that died. */
async function removeLeftovers(target: string): Promise<void> {
  const siblings = await readdir(dirname(target));
  const partials = siblings.filter((name) => isPartialOf(basename(target), name));
  for (const path of [target, ...partials.map((name) => join(dirname(target), name))]) {
    await rm(path, { recursive: true, force: true });
  }
}

/** Whether a folder holds a converted model rather than a checkpoint. */
export async function isConverted(folder: string): Promise<boolean> {
  return access(join(folder, manifestFile)).then(
    () => true,
    () => false,
  );
}
