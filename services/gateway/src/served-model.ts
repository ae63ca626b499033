import { readFile, stat } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import { CheckpointError } from '@baton/errors';
import { readConfig } from '@baton/hymba';
import { loadTokenizer, type Tokenizer } from '@baton/hymba/tokenizer';
import { z } from 'zod';

/** The sampling that the model's makers recommend. */
const generationConfig = z.looseObject({
  temperature: z.number().min(0).max(2).nullish(),
  top_k: z.int().min(0).nullish(),
  top_p: z.number().min(0).max(1).nullish(),
  min_p: z.number().min(0).max(1).nullish(),
  repetition_penalty: z.number().gt(0).max(10).nullish(),
});

export interface SamplingDefaults {
  readonly temperature: number;
  readonly top_k: number;
  readonly top_p: number;
  readonly min_p: number;
  readonly repetition_penalty: number;
}

/** What a gateway must know of the model that the workers run. */
export interface ServedModel {
  readonly name: string;
  /** Seconds since the Unix epoch. */
  readonly created: number;
  /** Prompt and output tokens together, at most. */
  readonly contextLength: number;
  readonly vocabularySize: number;
  readonly samplingDefaults: SamplingDefaults;
  readonly tokenizer: Tokenizer;
}

/** Reads a checkpoint's or converted model's folder. Throws `CheckpointError` naming the file at fault. */
export async function loadServedModel(modelDir: string, name?: string): Promise<ServedModel> {
  const config = await readConfig(modelDir);
  return {
    name: name ?? basename(resolve(modelDir)),
    created: Math.floor((await stat(join(modelDir, 'config.json'))).mtimeMs / 1000),
    contextLength: config.contextLength,
    vocabularySize: config.vocabularySize,
    samplingDefaults: await readSamplingDefaults(join(modelDir, 'generation_config.json')),
    tokenizer: await loadTokenizer(modelDir),
  };
}

async function readSamplingDefaults(file: string): Promise<SamplingDefaults> {
  const invalid = (problem: string, field?: string) =>
    new CheckpointError('invalid_checkpoint', `${file}: ${problem}`, { file, ...(field && { field }) });
  const text = await readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return '{}';
    throw invalid(`cannot be read (${error.code})`);
  });
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    throw invalid(`is not JSON: ${String(error)}`);
  }
  const parsed = generationConfig.safeParse(json);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    const field = issue?.path.join('.') ?? '';
    throw invalid(`"${field}": ${issue?.message}`, field);
  }
  const { temperature, top_k, top_p, min_p, repetition_penalty } = parsed.data;
  return {
    temperature: temperature ?? 1,
    top_k: top_k ?? 0,
    top_p: top_p ?? 1,
    min_p: min_p ?? 0,
    repetition_penalty: repetition_penalty ?? 1,
  };
}
