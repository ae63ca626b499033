import { createHash } from 'node:crypto';
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { CheckpointError } from '@baton/errors';
import { z } from 'zod';
import { type HymbaConfig, readConfig } from './config.ts';
import { graphFiles } from './graphs/contract.ts';
import { type KvCacheForm, kvCacheForms } from './kv-cache-form.ts';
import { type WeightForm, weightForms } from './weights/forms.ts';
import { weightsFile } from './weights/layout.ts';

/** Counts changes of the graphs, of the weights file's layout and of the manifest itself. */
export const modelFormat = 10;
export const manifestFile = 'baton.json';

const sha256 = z.hash('sha256');
const manifestSchema = z.object({
  format: z.literal(modelFormat),
  /** SHA-256 of what decides the arithmetic: configuration, weights, their form, graphs. */
  fingerprint: sha256,
  weightForm: z.enum(weightForms),
  kvCache: z.enum(kvCacheForms),
  files: z.record(z.string().regex(/^[\w.-]+$/), z.object({ bytes: z.int().positive(), sha256 })),
});
export type Manifest = z.infer<typeof manifestSchema>;

/** A converted model's folder, found complete. */
export interface ConvertedModel {
  readonly folder: string;
  readonly config: HymbaConfig;
  readonly fingerprint: string;
  /** SHA-256 of tokenizer.json; null where the checkpoint has none. */
  readonly tokenizer: string | null;
  readonly weightForm: WeightForm;
  readonly kvCache: KvCacheForm;
  /** Size of the weights file. */
  readonly weightBytes: number;
}

/**
 * Opens a converted folder: every file of its manifest must be there with its size and, but for the weights, its hash.
 * Throws `CheckpointError`, naming the file.
 */
export async function openModel(folder: string): Promise<ConvertedModel> {
  const manifest = await readManifest(folder);
  for (const needed of ['config.json', weightsFile, ...Object.values(graphFiles)]) {
    if (!(needed in manifest.files)) throw damaged(join(folder, manifestFile), `it does not list ${needed}`);
  }
  for (const [name, expected] of Object.entries(manifest.files)) {
    const file = join(folder, name);
    const { size } = await stat(file).catch((error: NodeJS.ErrnoException) => {
      throw damaged(file, `it cannot be read (${error.code})`);
    });
    if (size !== expected.bytes)
      throw damaged(file, `it has ${size} bytes, its manifest says ${expected.bytes}`);
    // Reading gigabytes of weights at every start would cost more than it finds.
    if (name === weightsFile) continue;
    const found = createHash('sha256')
      .update(await readFile(file))
      .digest('hex');
    if (found !== expected.sha256) throw damaged(file, 'its contents are not those that its manifest names');
  }
  const { fingerprint, weightForm, kvCache, files } = manifest;
  const weightBytes = files[weightsFile]?.bytes ?? 0;
  return {
    folder,
    config: await readConfig(folder),
    fingerprint,
    tokenizer: tokenizerOf(manifest),
    weightForm,
    kvCache,
    weightBytes,
  };
}

export function tokenizerOf({ files }: Pick<Manifest, 'files'>): ConvertedModel['tokenizer'] {
  return files['tokenizer.json']?.sha256 ?? null;
}

async function readManifest(folder: string): Promise<Manifest> {
  const file = join(folder, manifestFile);
  const text = await readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
    throw damaged(file, `it cannot be read (${error.code}): ${folder} is not a converted model`);
  });
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    throw damaged(file, `it is not JSON: ${(error as Error).message}`);
  }
  const parsed = manifestSchema.safeParse(json);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  throw damaged(file, `${issue?.path.join('.')}: ${issue?.message}`, issue?.path.join('.'));
}

function damaged(file: string, message: string, field?: string): CheckpointError {
  return new CheckpointError('invalid_checkpoint', `${file}: ${message}; convert the checkpoint again`, {
    file,
    ...(field !== undefined && { field }),
  });
}
