import { createHash, randomUUID } from 'node:crypto';
import { copyFile, mkdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { ConfigurationError } from '@baton/errors';
import { readConfig } from './config.ts';
import {
  type ConvertedModel,
  type Manifest,
  manifestFile,
  modelFormat,
  openModel,
  tokenizerOf,
} from './converted-model.ts';
import { buildGraph } from './graphs/build.ts';
import { type GraphName, graphFiles } from './graphs/contract.ts';
import { explainDiskError } from './hub/disk-errors.ts';
import { defaultKvCache, type KvCacheForm } from './kv-cache-form.ts';
import { Checkpoint } from './safetensors/checkpoint.ts';
import type { WeightForm } from './weights/forms.ts';
import { WeightLayout, weightsFile } from './weights/layout.ts';
import { checkTensors, type WriteProgress, writeWeights } from './weights/write-weights.ts';

/** What a converted model takes over as it is, where the checkpoint has it. */
export const companionFiles = [
  'generation_config.json',
  'tokenizer.json',
  'tokenizer_config.json',
  'special_tokens_map.json',
  'added_tokens.json',
  'chat_template.jinja',
] as const;

export interface ConvertOptions {
  /** How the large matrices are to be stored; `fp32` unless said otherwise. */
  readonly weights?: WeightForm | undefined;
  /** What keys and values are rounded to; unless said otherwise float32 with fp32 weights and float16 with others. */
  readonly kvCache?: KvCacheForm | undefined;
  readonly onProgress?: (progress: WriteProgress) => void;
  /** Ends the conversion with the signal's reason. */
  readonly signal?: AbortSignal;
}

const partialName = (name: string): string => `.${name}.${randomUUID()}.partial`;

/** Whether `sibling` is the unfinished conversion of a folder called `name`. */
export function isPartialOf(name: string, sibling: string): boolean {
  return sibling.startsWith(`.${name}.`) && sibling.endsWith('.partial');
}

/**
 * Converts a checkpoint in the released layout into a folder that the engine runs, and opens it. The folder appears whole
 * or not at all; two processes may convert into it at once, and the second then finds the first's. Throws
 * `CheckpointError` for a checkpoint that is damaged or not supported, `ConfigurationError` where `outDir` already
 * holds something else.
 */
export async function convert(
  checkpointDir: string,
  outDir: string,
  { weights = 'fp32', kvCache = defaultKvCache(weights), onProgress, signal }: ConvertOptions = {},
): Promise<ConvertedModel> {
  const out = resolve(outDir);
  const temporary = join(dirname(out), partialName(basename(out)));
  try {
    await mkdir(temporary, { recursive: true });
    const manifest = await writeModel(checkpointDir, temporary, { weights, kvCache }, (progress) => {
      signal?.throwIfAborted();
      onProgress?.(progress);
    });
    await moveInto(out, temporary, manifest);
  } catch (error) {
    await rm(temporary, { recursive: true, force: true });
    throw explainDiskError(error, out);
  }
  return openModel(out);
}

async function writeModel(
  checkpointDir: string,
  folder: string,
  { weights: weightForm, kvCache }: { readonly weights: WeightForm; readonly kvCache: KvCacheForm },
  onProgress: (progress: WriteProgress) => void,
): Promise<Manifest> {
  const config = await readConfig(checkpointDir);
  const layout = new WeightLayout(config, weightForm);
  await using checkpoint = await Checkpoint.open(checkpointDir);
  checkTensors(layout, checkpoint);

  const files: Manifest['files'] = {};
  await copyFile(join(checkpointDir, 'config.json'), join(folder, 'config.json'));
  files['config.json'] = await describe(join(folder, 'config.json'));
  for (const name of companionFiles) {
    if (await copyIfThere(join(checkpointDir, name), join(folder, name))) {
      files[name] = await describe(join(folder, name));
    }
  }
  const hashes: string[] = [];
  for (const mode of Object.keys(graphFiles) as GraphName[]) {
    const file = join(folder, graphFiles[mode]);
    await writeFile(file, buildGraph(mode, { config, layout, kvCache }), { flush: true });
    files[graphFiles[mode]] = await describe(file);
    hashes.push(files[graphFiles[mode]]?.sha256 ?? '');
  }
  const weights = await writeWeights(join(folder, weightsFile), { config, layout, checkpoint }, onProgress);
  files[weightsFile] = { bytes: layout.bytes, sha256: weights };

  const decisive = JSON.stringify({
    format: modelFormat,
    weightForm,
    kvCache,
    config,
    graphs: hashes,
    weights,
  });
  const fingerprint = createHash('sha256').update(decisive).digest('hex');
  const manifest: Manifest = { format: modelFormat, fingerprint, weightForm, kvCache, files };
  await writeFile(join(folder, manifestFile), `${JSON.stringify(manifest, null, 2)}\n`, { flush: true });
  return manifest;
}

/** Renames the finished folder to its place, unless the same model with the same tokenizer is there by now. */
async function moveInto(out: string, temporary: string, manifest: Manifest): Promise<void> {
  try {
    await rename(temporary, out);
    return;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code !== 'ENOTEMPTY' && code !== 'EEXIST' && code !== 'ENOTDIR') throw error;
  }
  const there = await openModel(out).catch(() => null);
  if (there?.fingerprint !== manifest.fingerprint || there.tokenizer !== tokenizerOf(manifest)) {
    throw new ConfigurationError(
      `${out} already holds something else; give a folder that does not exist yet`,
    );
  }
  await rm(temporary, { recursive: true, force: true });
}

async function describe(file: string): Promise<{ bytes: number; sha256: string }> {
  const { size } = await stat(file);
  const sha256 = createHash('sha256')
    .update(await readFile(file))
    .digest('hex');
  return { bytes: size, sha256 };
}

async function copyIfThere(from: string, to: string): Promise<boolean> {
  try {
    await copyFile(from, to);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false;
    throw error;
  }
}
