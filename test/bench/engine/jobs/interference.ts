import type { Engine } from '@baton/engine';
import { readConfig } from '@baton/hymba';
import { quantile } from '../report/statistics.ts';
import { openEngine, promptOf, streamOf } from './engine-streams.ts';
import { madeUpState } from './made-up-state.ts';
import type { Effort, Job, Note, Row } from './messages.ts';
import { Streams } from './streams.ts';
import { windowOver } from './window.ts';

type InterferenceJob = Extract<Job, { kind: 'interference' }>;

/**
 * Gaps between the tokens of running streams, without and while others come beside them: a long prompt that is prefilled,
 * and as many sessions of that length as there are streams, whose states are restored.
 */
export async function* interference(job: InterferenceJob, effort: Effort, note: Note): AsyncGenerator<Row> {
  const { subject, streams: count } = job;
  const engine = await openEngine(subject.folder, effort, 2 * count);
  try {
    const { contextLength, fingerprint } = engine.model;
    const tokens = Math.min(job.prompt, contextLength - 2);
    if (tokens < job.prompt) {
      note(
        `a prompt of ${job.prompt} tokens, but one of ${tokens}: the model's context holds ${contextLength}`,
      );
    }
    const prompt = promptOf(engine, tokens, count);
    // Two tokens are left to be fed.
    const state = madeUpState(await readConfig(subject.folder), fingerprint, tokens - 2);
    const cases = [
      { beside: `a prompt of ${tokens}`, come: () => [streamOf(engine, prompt)] },
      {
        beside: `${count} restored of ${tokens}`,
        come: () => Array.from({ length: count }, () => streamOf(engine, prompt, 'greedy', state)),
      },
    ];
    for (const { beside, come } of cases) {
      yield {
        model: subject.model,
        weights: subject.weights,
        streams: count,
        beside,
        ...(await gapsOf(engine, count, effort, come)),
      };
    }
  } finally {
    await engine.close();
  }
}

async function gapsOf(
  engine: Engine,
  count: number,
  { milliseconds }: Effort,
  come: () => AsyncIterable<unknown>[],
): Promise<Row> {
  const streams = new Streams();
  for (let index = 0; index < count; index++) streams.add(streamOf(engine, promptOf(engine, 64, index)));
  await streams.more(3);
  const alone = await streams.gapsUntil(windowOver(streams, milliseconds));

  const start = performance.now();
  const firstTokens = come().map(async (stream) => {
    for await (const _ of stream) break;
    return performance.now() - start;
  });
  const beside = await streams.gapsUntil(Promise.all(firstTokens));
  await streams.stop();
  return {
    'p50 ms alone': quantile(alone, 0.5),
    'p99 ms alone': quantile(alone, 0.99),
    'p50 ms beside': quantile(beside, 0.5),
    'p99 ms beside': quantile(beside, 0.99),
    'p99 ratio': quantile(beside, 0.99) / quantile(alone, 0.99),
    'first token s': Math.max(...(await Promise.all(firstTokens))) / 1000,
  };
}
