import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { CheckpointError } from '@baton/errors';
import { z } from 'zod';

const decoderStep = z.discriminatedUnion('type', [
  z.object({ type: z.literal(['ByteLevel', 'ByteFallback', 'Fuse']) }),
  z.object({
    type: z.literal('Replace'),
    pattern: z.object({ String: z.string().min(1) }),
    content: z.string(),
  }),
  z.object({
    type: z.literal('Metaspace'),
    replacement: z.string().min(1).default('▁'),
    prepend_scheme: z.enum(['always', 'first', 'never']).default('always'),
  }),
  z.object({ type: z.literal('Strip'), content: z.string(), start: z.int().min(0), stop: z.int().min(0) }),
  z.object({ type: z.literal(['WordPiece', 'BPEDecoder', 'CTC']) }),
]);
const decoderSpec = z
  .discriminatedUnion('type', [
    z.object({ type: z.literal('Sequence'), decoders: z.array(decoderStep) }),
    ...decoderStep.options,
  ])
  .nullable();
export type DecoderSpec = z.infer<typeof decoderSpec>;

/** The fields of tokenizer.json that are read here; the tokenizer library reads the whole. */
const tokenizerJson = z.looseObject({
  model: z.looseObject({
    vocab: z.union([z.record(z.string(), z.int().min(0)), z.array(z.tuple([z.string(), z.number()]))]),
  }),
  added_tokens: z.array(
    z.looseObject({ id: z.int().min(0), content: z.string().min(1), special: z.boolean() }),
  ),
  decoder: decoderSpec,
});

const specialToken = z
  .union([z.string(), z.looseObject({ content: z.string() }).transform((token) => token.content)])
  .nullish();
const tokenizerConfig = z.looseObject({
  bos_token: specialToken,
  eos_token: specialToken,
  unk_token: specialToken,
  pad_token: specialToken,
  add_bos_token: z.boolean().nullish(),
  chat_template: z
    .union([z.string(), z.array(z.object({ name: z.string(), template: z.string() }))])
    .nullish(),
});

const tokenIds = z
  .union([
    z
      .int()
      .min(0)
      .transform((id) => [id]),
    z.array(z.int().min(0)),
  ])
  .nullish();
const modelConfig = z.looseObject({
  vocab_size: z.int().min(1).optional(),
  bos_token_id: z.int().min(0).nullish(),
  eos_token_id: tokenIds,
});

export type TokenizerFiles = Awaited<ReturnType<typeof readTokenizerFiles>>;

/** Reads what describes a checkpoint's tokens; refuses, by file and field, what is missing or damaged. */
export async function readTokenizerFiles(modelDir: string) {
  const tokenizerFile = join(modelDir, 'tokenizer.json');
  const configFile = join(modelDir, 'tokenizer_config.json');
  const templateFile = join(modelDir, 'chat_template.jinja');
  const text = await readText(tokenizerFile);
  if (text === null) {
    throw new CheckpointError(
      'invalid_checkpoint',
      `${tokenizerFile} is missing: the checkpoint has no tokenizer`,
      { file: tokenizerFile },
    );
  }
  const config = await readJson(configFile, tokenizerConfig);
  const template = await readText(templateFile);
  return {
    tokenizerFile,
    tokenizer: parse(tokenizerFile, text, tokenizerJson),
    fingerprint: createHash('sha256').update(text).digest('hex'),
    config,
    model: await readJson(join(modelDir, 'config.json'), modelConfig),
    generation: await readJson(join(modelDir, 'generation_config.json'), modelConfig),
    chatTemplate:
      template === null
        ? { source: config.chat_template ?? null, file: configFile }
        : { source: template, file: templateFile },
  };
}

async function readJson<S extends z.ZodType>(file: string, schema: S): Promise<z.infer<S>> {
  return parse(file, (await readText(file)) ?? '{}', schema);
}

async function readText(file: string): Promise<string | null> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return null;
    throw new CheckpointError('invalid_checkpoint', `${file} cannot be read: ${String(error)}`, { file });
  }
}

function parse<S extends z.ZodType>(file: string, text: string, schema: S): z.infer<S> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new CheckpointError('invalid_checkpoint', `${file} is not JSON: ${String(error)}`, { file });
  }
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  const field = issue?.path.join('.') ?? '';
  throw new CheckpointError('invalid_checkpoint', `${file}: ${field || 'content'}: ${issue?.message}`, {
    file,
    ...(field && { field }),
  });
}
