import { madeUpState } from '../engine/jobs/made-up-state.ts';
import { type Summary, summarize } from '../engine/report/statistics.ts';
import { copyBandwidth } from './bandwidth.ts';
import { usedGB } from './gpu.ts';
import type { Row, Settings } from './main.ts';
import { hymba15b, openOnGpu, stepBytes } from './model.ts';

/** Decoding of every batch at every context: all sequences have `context` tokens of made-up state, brought from the CPU. */
export async function* decode(settings: Settings): AsyncGenerator<Row> {
  const { batches, contexts, steps, say } = settings;
  const model = await hymba15b(settings);
  const { median: copying } = summarize(await copyBandwidth());
  const slots = Math.max(...batches);
  const runner = await openOnGpu(model, { slots });
  const vocabulary = runner.model.vocabularySize;
  for (const context of contexts) {
    const tokens = Math.min(context, runner.model.contextLength) - (steps + 3) * batches.length;
    const state = madeUpState(model.config, runner.model.fingerprint, tokens);
    const states = Array.from({ length: slots }, () => runner.importState(state));
    say(`  bringing ${slots} states of ${tokens} tokens to the GPU`);
    await runner.runBatch(states.map((own) => ({ state: own, ids: [1], rows: [] })));
    for (const batch of batches) {
      say(`  batch ${batch} at ${context}`);
      const milliseconds: number[] = [];
      for (let step = -2; step < steps; step++) {
        const start = performance.now();
        const found = await runner.runBatch(
          states
            .slice(0, batch)
            .map((own, i) => ({ state: own, ids: [(i * 31 + step + 7) % vocabulary], rows: [0] })),
        );
        const took = performance.now() - start;
        const failure = found.find((result) => !(result instanceof Float32Array));
        if (failure) throw failure;
        // The first ones compile.
        if (step >= 0) milliseconds.push(took);
      }
      const step = summarize(milliseconds);
      const bytes = stepBytes(model, batch, context);
      yield {
        context,
        batch,
        'ms a step': step,
        'tokens/s': rateOf(milliseconds, batch),
        'GB a step at least': bytes / 1e9,
        '% of the copy bandwidth': (100 * bytes) / 1e6 / step.median / copying,
        'cache MB each': runner.slotBytes(tokens) / 1e6,
        'GPU GB in use': await usedGB(),
      };
    }
    for (const own of states) runner.freeState(own);
  }
  await runner.close();
}

export function rateOf(milliseconds: readonly number[], amount: number): Summary {
  return summarize(milliseconds.map((ms) => (1000 * amount) / ms));
}
