import { ModelRunner } from '@baton/engine/model-runner';
import { ratePerSecond } from '../report/statistics.ts';
import { BareMatrices } from './bare-matrices.ts';
import type { Effort, Job, Note, Row } from './messages.ts';
import { sample } from './sample.ts';

type PrefillJob = Extract<Job, { kind: 'prefill' }>;

/** Prompts fed to one sequence in chunks, as the engine does; beside them the matrix products of such chunks alone. */
export async function* prefill(
  job: PrefillJob,
  { threads, milliseconds }: Effort,
  note: Note,
): AsyncGenerator<Row> {
  const { subject, lengths, chunk } = job;
  const bare = await (async () => {
    await using matrices = await BareMatrices.open(subject.folder, threads);
    return await sample(() => matrices.run(1, chunk), { warmup: 1, least: 5, most: 50, milliseconds });
  })();
  const runner = await ModelRunner.open(subject.folder, { threads, slots: 1 });
  const { contextLength, vocabularySize } = runner.model;
  for (const length of lengths) {
    if (length > contextLength) {
      note(`a prompt of ${length} tokens: the model's context holds ${contextLength}`);
      continue;
    }
    const ids = Array.from({ length }, (_, i) => 300 + ((i * 31) % (vocabularySize - 300)));
    const feed = async () => {
      const state = runner.newState();
      for (let from = 0; from < length; from += chunk) {
        const part = ids.slice(from, from + chunk);
        const rows = from + chunk >= length ? [part.length - 1] : [];
        const [result] = await runner.runBatch([{ state, ids: part, rows }]);
        if (result instanceof Error) throw result;
      }
      runner.freeState(state);
    };
    // A long prompt takes so long that one run is warm enough.
    const durations = await sample(feed, { warmup: length <= 256 ? 1 : 0, least: 2, most: 20, milliseconds });
    const rate = ratePerSecond(durations, length);
    const alone = ratePerSecond(bare, chunk);
    yield {
      model: subject.model,
      weights: subject.weights,
      tokens: length,
      chunk,
      'tokens/s': rate,
      'matrices alone tokens/s': alone,
      '% of matrices alone': (100 * rate.median) / alone.median,
    };
  }
  await runner.close();
}
