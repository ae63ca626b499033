import { join } from 'node:path';
import type { Effort, Job, Row } from '../jobs/messages.ts';
import { runJob } from '../jobs/run-job.ts';
import { prepareModel } from '../models/prepare.ts';
import type { Options } from '../options.ts';
import { limitOf, servedPrompt } from '../plan.ts';
import type { Section } from '../report/report.ts';
import type { Summary } from '../report/statistics.ts';
import { comparableLlama, ensureRandomLlama } from './gguf/random-llama.ts';
import { installPeer, nodeLlamaCpp, transformersJs } from './install-peers.ts';
import { ensureOnnxLlama } from './onnx-llama.ts';

const batches = [1, 8];
const rateColumn = 'tokens/s per GB';

/**
 * The engine with the 1.5B's 4-bit weights, and after it what else runs a transformer of about as many weight bytes.
 * `Baton ÷ this` compares tokens/s for each GB of weights.
 */
export async function comparePeers(
  options: Options,
  {
    effort,
    signal,
    say,
  }: { readonly effort: Effort; readonly signal: AbortSignal; readonly say: (line: string) => void },
  section: Section,
): Promise<void> {
  const { cache } = options;
  const measure = async (what: string, prepare: () => Promise<Job>): Promise<Row[]> => {
    try {
      const job = await prepare();
      say(`peers: ${what} …`);
      const { rows, failure } = await runJob(job, effort, { limit: limitOf(options), signal });
      if (failure) section.notes.push(`${what}: ${failure}`);
      return rows.map((row) => ({ what, ...row, ...perGigabyte(row) }));
    } catch (error) {
      section.notes.push(`${what}: ${error instanceof Error ? error.message : error}`);
      return [];
    }
  };
  const common = { batches, prompt: servedPrompt };

  const ours = await measure('Baton, Hymba-1.5B sizes, int4', async () => {
    const subject = await prepareModel('1.5b', 'int4', cache, say);
    return { kind: 'serving', subject, choices: ['greedy'], ...common };
  });
  const llama = await measure(`node-llama-cpp ${nodeLlamaCpp.version}, Llama, Q4_0`, async () => {
    const module = await installPeer(nodeLlamaCpp, join(cache, 'peers'), say);
    const file = join(cache, 'llama-q4_0.gguf');
    say('Writing a random Llama as GGUF, unless it is there …');
    const weightBytes = await ensureRandomLlama(file, comparableLlama);
    return { kind: 'llama', module, file, weightBytes, ...common };
  });
  const transformers = await measure(
    `${transformersJs.name} ${transformersJs.version}, Llama, q4`,
    async () => {
      const module = await installPeer(transformersJs, join(cache, 'peers'), say);
      const folder = join(cache, 'llama-q4-onnx');
      say('Writing a random Llama as ONNX, unless it is there …');
      const weightBytes = await ensureOnnxLlama(folder, comparableLlama);
      return { kind: 'transformers', module, folder, weightBytes, ...common };
    },
  );
  const compared = [...llama, ...transformers].map((row) => {
    const our = ours.find(({ batch }) => batch === row['batch']);
    return { ...row, 'Baton ÷ this': ratio(our?.[rateColumn], row[rateColumn]) };
  });
  section.rows.push(...ours, ...compared);
}

function perGigabyte({ 'tokens/s': rate, 'weights GB': gigabytes }: Row): Row {
  if (!isSummary(rate) || typeof gigabytes !== 'number') return {};
  return { [rateColumn]: rate.median / gigabytes };
}

function ratio(ours: unknown, theirs: unknown): number | null {
  return typeof ours === 'number' && typeof theirs === 'number' ? ours / theirs : null;
}

function isSummary(value: unknown): value is Summary {
  return typeof value === 'object' && value !== null;
}
