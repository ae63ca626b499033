import { quantile } from '../report/statistics.ts';
import { openEngine, promptOf, streamOf } from './engine-streams.ts';
import type { Effort, Job, Note, Row } from './messages.ts';
import { Streams } from './streams.ts';
import { windowOver } from './window.ts';

type InterferenceJob = Extract<Job, { kind: 'interference' }>;

/** Gaps between the tokens of running streams, without and while a long prompt is prefilled beside them. */
export async function* interference(job: InterferenceJob, effort: Effort, note: Note): AsyncGenerator<Row> {
  const { subject, streams: count } = job;
  const engine = await openEngine(subject.folder, effort, count + 1);
  try {
    const { contextLength } = engine.model;
    const prompt = Math.min(job.prompt, contextLength - 2);
    if (prompt < job.prompt) {
      note(
        `a prompt of ${job.prompt} tokens, but one of ${prompt}: the model's context holds ${contextLength}`,
      );
    }
    const streams = new Streams();
    for (let index = 0; index < count; index++) streams.add(streamOf(engine, promptOf(engine, 64, index)));
    await streams.more(3);
    const alone = await streams.gapsUntil(windowOver(streams, effort.milliseconds));

    const start = performance.now();
    let firstTokenMs = Number.NaN;
    const prefilled = (async () => {
      for await (const _ of streamOf(engine, promptOf(engine, prompt, count))) {
        firstTokenMs = performance.now() - start;
        return;
      }
    })();
    const beside = await streams.gapsUntil(prefilled);
    await streams.stop();
    yield {
      model: subject.model,
      weights: subject.weights,
      streams: count,
      prompt,
      'p50 ms alone': quantile(alone, 0.5),
      'p99 ms alone': quantile(alone, 0.99),
      'p50 ms beside': quantile(beside, 0.5),
      'p99 ms beside': quantile(beside, 0.99),
      'p99 ratio': quantile(beside, 0.99) / quantile(alone, 0.99),
      'first token s': firstTokenMs / 1000,
    };
  } finally {
    await engine.close();
  }
}
