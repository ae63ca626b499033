import { ModelRunner } from '@baton/engine/model-runner';
import { readConfig } from '@baton/hymba';
import { ratePerSecond, summarize } from '../report/statistics.ts';
import { allocatedBytes } from './allocation.ts';
import { BareMatrices } from './bare-matrices.ts';
import { madeUpState } from './made-up-state.ts';
import type { Effort, Job, Note, Row } from './messages.ts';
import { runtimeClock } from './runtime-clock.ts';
import { sample } from './sample.ts';

const allocationCalls = 12;

type DecodeJob = Extract<Job, { kind: 'decode' }>;

/**
 * Steps of one token for each of `batch` sequences of about `context` tokens, without sampling; beside them the matrix
 * products of such a step alone, and what reading the weights once for each step would allow.
 */
export async function* decode(job: DecodeJob, effort: Effort, note: Note): AsyncGenerator<Row> {
  const { subject, batches, contexts } = job;
  const { threads, milliseconds, bytesPerSecond } = effort;
  const limits = { warmup: 2, least: 5, most: 100, milliseconds };
  const bare = await bareSteps(job, effort);
  const config = await readConfig(subject.folder);
  const runner = await ModelRunner.open(subject.folder, { threads, slots: Math.max(...batches) });
  const { fingerprint, contextLength } = runner.model;
  for (const context of contexts) {
    const last = context + limits.warmup + limits.most + allocationCalls;
    if (last > contextLength) {
      note(`a context of ${context} tokens, ${last} at the end: the model's holds ${contextLength}`);
      continue;
    }
    const data = madeUpState(config, fingerprint, context);
    for (const batch of batches) {
      const states = Array.from({ length: batch }, () => runner.importState(data));
      const steps = states.map((state, index) => ({ state, ids: [300 + index], rows: [0] }));
      const outside: number[] = [];
      const step = async () => {
        const failed = (await runner.runBatch(steps)).find((result) => result instanceof Error);
        if (failed) throw failed;
      };
      const durations = await sample(async () => {
        const [start, before] = [performance.now(), runtimeClock().milliseconds];
        await step();
        outside.push(performance.now() - start - (runtimeClock().milliseconds - before));
      }, limits);
      const bound = (batch * bytesPerSecond) / bare.weightBytes;
      const rate = ratePerSecond(durations, batch);
      yield {
        model: subject.model,
        weights: subject.weights,
        context,
        batch,
        'tokens/s': rate,
        'bound tokens/s': bound,
        '% of bound': (100 * rate.median) / bound,
        'matrices alone tokens/s': ratePerSecond(bare.durations.get(batch) ?? [], batch),
        'ms outside runtime': summarize(outside.slice(limits.warmup)),
        'allocated kB': (await allocatedBytes(step, allocationCalls)) / 1000,
        'state MB each': runner.slotBytes(context) / 1e6,
        'weights GB': bare.weightBytes / 1e9,
      };
      for (const state of states) runner.freeState(state);
    }
  }
  await runner.close();
}

/** The matrix products of a step of each batch size, in ms, and the bytes of the weights that they read. */
async function bareSteps({ subject, batches }: DecodeJob, { threads, milliseconds }: Effort) {
  await using matrices = await BareMatrices.open(subject.folder, threads);
  const durations = new Map<number, number[]>();
  for (const batch of batches) {
    const limits = { warmup: 2, least: 5, most: 100, milliseconds };
    durations.set(batch, await sample(() => matrices.run(batch, 1), limits));
  }
  return { durations, weightBytes: matrices.weightBytes };
}
