import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { linearsGraph, openModel } from '@baton/hymba';
import { summarize } from '../report/statistics.ts';
import { openEngine, promptOf, streamOf } from './engine-streams.ts';
import { LoopDelay } from './loop-delay.ts';
import type { Effort, Job, Row } from './messages.ts';
import { runtimeClock } from './runtime-clock.ts';
import { Streams } from './streams.ts';
import { windowOver } from './window.ts';

type ServingJob = Extract<Job, { kind: 'serving' }>;

/**
 * The engine as a worker runs it, on its own thread, with detokenising: how long it takes to be ready, what it gives by each
 * way to choose tokens at each batch size after prompts of `prompt` tokens, and how much of a step it spends outside ONNX Runtime.
 */
export async function* serving(
  { subject, choices, batches, prompt }: ServingJob,
  effort: Effort,
): AsyncGenerator<Row> {
  const settings = choices.flatMap((choice) => batches.map((batch) => ({ choice, batch })));
  const { weightBytes } = linearsGraph(await openModel(subject.folder));
  // The first thread of a process keeps Node busy for some ms, whatever it is to run: that is not opening a model.
  await once(new Worker('', { eval: true }), 'exit');
  const delay = new LoopDelay();
  const started = performance.now();
  const engine = await openEngine(subject.folder, effort, Math.max(...batches));
  const loadSeconds = (performance.now() - started) / 1000;
  const [latestLoading, { busy: busyLoading }] = [delay.percentile(100), delay.most];
  try {
    for (const { choice, batch } of settings) {
      const streams = new Streams();
      for (let index = 0; index < batch; index++)
        streams.add(streamOf(engine, promptOf(engine, prompt, index), choice));
      await streams.more(3);
      delay.reset();
      const before = runtimeClock();
      const start = performance.now();
      const gaps = await streams.gapsUntil(windowOver(streams, effort.milliseconds));
      const elapsed = performance.now() - start;
      const after = runtimeClock();
      const [late, latest, { busy, waited }] = [delay.percentile(99), delay.percentile(100), delay.most];
      await streams.stop();
      const steps = after.runs - before.runs;
      const outside = elapsed - (after.milliseconds - before.milliseconds);
      yield {
        model: subject.model,
        weights: subject.weights,
        choice,
        batch,
        'tokens/s': summarize(gaps.map((gap) => (batch * 1000) / gap)),
        'ms outside ONNX Runtime': outside / steps,
        '% of the step': (100 * outside) / elapsed,
        'event loop p99 ms': late,
        'event loop max ms': latest,
        'its own work max ms': busy,
        'without a core max ms': waited,
        'load s': loadSeconds,
        'event loop max ms, loading': latestLoading,
        'its own work max ms, loading': busyLoading,
        'weights GB': weightBytes / 1e9,
      };
    }
  } finally {
    await engine.close();
  }
}
