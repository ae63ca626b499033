import { readFile } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { ModelRunner } from '@baton/engine/model-runner';
import { type DocumentScore, type Quality, scoreDocument, summarise } from '@baton/engine/quality';
import { loadEnv } from '@baton/environment';
import { ConfigurationError } from '@baton/errors';
import {
  type ConvertedModel,
  ensureConverted,
  isConverted,
  type KvCacheForm,
  weightForms,
} from '@baton/hymba';
import { loadTokenizer, type Tokenizer } from '@baton/hymba/tokenizer';
import { Command } from 'commander';
import { formatBytes } from '../format-bytes.ts';
import { showProgress } from '../progress.ts';
import { wholeNumber } from '../whole-number.ts';
import { kvCacheOption } from './convert.ts';

/** `baton quality <model> --text <file> [--against model] [--kv-cache form] [--documents n] [--tokens n]` */
export function qualityCommand(): Command {
  return new Command('quality')
    .description('measure how well a model predicts a text, and what its weight forms cost')
    .argument('<model>', 'a checkpoint, of which every weight form is measured, or a converted model')
    .requiredOption('--text <file>', 'documents with a line <|endoftext|> between them')
    .option(
      '--against <model>',
      'take the KL divergence from this one; by default from a checkpoint as it is',
    )
    .addOption(kvCacheOption())
    .option('--documents <n>', 'only so many of the documents', wholeNumber)
    .option('--tokens <n>', 'cut documents at so many tokens', wholeNumber, 1500)
    .action(measure);
}

interface Options {
  readonly text: string;
  readonly against?: string;
  readonly kvCache?: KvCacheForm;
  readonly documents?: number;
  readonly tokens: number;
}

async function measure(
  model: string,
  { text, against, kvCache, documents: count, tokens }: Options,
): Promise<void> {
  const { BATON_DATA_DIR: dataDir, BATON_THREADS: threads = availableParallelism() } = loadEnv(process.env, [
    'BATON_DATA_DIR',
    'BATON_THREADS',
  ]);
  const cacheDir = join(dataDir, 'models');
  const converted = await isConverted(model);
  const forms = converted ? [undefined] : weightForms;
  const subjects: ConvertedModel[] = [];
  for (const weights of forms) subjects.push(await ensureConverted(model, cacheDir, { weights, kvCache }));
  const exact = against ?? (converted ? undefined : model);
  const reference = exact === undefined ? undefined : await ensureConverted(exact, cacheDir);

  const other =
    reference && subjects.find(({ config }) => config.vocabularySize !== reference.config.vocabularySize);
  if (other) throw new ConfigurationError(`--against: ${against} has another vocabulary than ${model}`);

  const documents = await readDocuments(text, await loadTokenizer(model), { count, tokens });
  const scores = await scoreAll(subjects, reference, { documents, threads });
  const rows = subjects.map((subject, i) => tableRow(subject, summarise(scores[i] ?? [])));
  process.stdout.write(
    table([
      ['weights', 'KV cache', 'size', 'nats/token', 'perplexity', 'bits/byte', 'KL mean', 'KL p99'],
      ...rows,
    ]),
  );
}

interface Document {
  /** Each token to feed predicts the target at its place. */
  readonly ids: readonly number[];
  readonly targets: readonly number[];
  readonly bytes: number;
}

/** Each document by itself: after the beginning-of-sequence token, and with the end-of-sequence token behind it. */
async function readDocuments(
  file: string,
  tokenizer: Tokenizer,
  { count, tokens }: { readonly count: number | undefined; readonly tokens: number },
): Promise<Document[]> {
  const text = await readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
    throw new ConfigurationError(`--text: ${file} cannot be read (${error.code})`);
  });
  const texts = text.split('<|endoftext|>').map((part) => part.trim());
  const documents = texts
    .filter((part) => part !== '')
    .slice(0, count)
    .map((part) => {
      const bos = tokenizer.bosTokenId;
      const body = tokenizer.encode(part, { addSpecialTokens: false });
      const all = [...(bos === null ? [] : [bos]), ...body, ...tokenizer.eosTokenIds.slice(0, 1)];
      const scored = body.slice(0, tokens);
      return {
        ids: all.slice(0, -1).slice(0, tokens),
        targets: all.slice(1, tokens + 1),
        bytes: Buffer.byteLength(scored.length === body.length ? part : tokenizer.decode(scored)),
      };
    })
    .filter(({ ids }) => ids.length > 0);
  if (documents.length > 0) return documents;
  throw new ConfigurationError(`--text: ${file} has no documents`);
}

/** Scores [model][document]. All models are open at once, so that the reference runs once for each document. */
async function scoreAll(
  subjects: readonly ConvertedModel[],
  reference: ConvertedModel | undefined,
  { documents, threads }: { readonly documents: readonly Document[]; readonly threads: number },
): Promise<DocumentScore[][]> {
  const runners = new Map<string, ModelRunner>();
  for (const { folder, fingerprint } of [...subjects, ...(reference ? [reference] : [])]) {
    if (!runners.has(fingerprint)) runners.set(fingerprint, await ModelRunner.open(folder, { threads }));
  }
  const progress = showProgress(process.stderr);
  const scores: DocumentScore[][] = subjects.map(() => []);
  try {
    for (const [at, document] of documents.entries()) {
      const logits = new Map<string, Float32Array>();
      for (const [fingerprint, runner] of runners) logits.set(fingerprint, await logitsOf(runner, document));
      for (const [i, { fingerprint }] of subjects.entries()) {
        const ofReference = reference?.fingerprint === fingerprint ? undefined : reference;
        const found = logits.get(fingerprint) ?? new Float32Array();
        scores[i]?.push(scoreDocument(found, document, ofReference && logits.get(ofReference.fingerprint)));
      }
      progress.update(at + 1, documents.length, `document ${at + 1} of ${documents.length}`);
    }
  } finally {
    progress.stop();
    for (const runner of runners.values()) await runner.close();
  }
  return scores;
}

/** Logits of every token of a document, which belong to the runner only until its next step. */
async function logitsOf(runner: ModelRunner, { ids }: Document): Promise<Float32Array> {
  const state = runner.newState();
  try {
    return Float32Array.from(await runner.run(state, { ids, rows: [...ids.keys()] }));
  } finally {
    runner.freeState(state);
  }
}

function tableRow({ weightForm, kvCache, weightBytes }: ConvertedModel, quality: Quality): string[] {
  const { natsPerToken, perplexity, bitsPerByte, divergence } = quality;
  return [
    weightForm,
    kvCache,
    formatBytes(weightBytes),
    natsPerToken.toFixed(3),
    perplexity.toFixed(2),
    bitsPerByte.toFixed(3),
    divergence?.mean.toFixed(5) ?? '–',
    divergence?.p99.toFixed(4) ?? '–',
  ];
}

function table(rows: readonly (readonly string[])[]): string {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  return rows
    .map((row) => `${row.map((cell, column) => cell.padStart(widths[column] ?? 0)).join('  ')}\n`)
    .join('');
}
