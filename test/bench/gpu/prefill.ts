import { madeUpState } from '../engine/jobs/made-up-state.ts';
import { summarize } from '../engine/report/statistics.ts';
import { rateOf } from './decode.ts';
import type { Row, Settings } from './main.ts';
import { hymba15b, openOnGpu } from './model.ts';

const chunk = 256;
const chunks = 4;

/** The last chunks of a prompt that ends at a context. */
export async function* prefill(settings: Settings): AsyncGenerator<Row> {
  const { contexts, say } = settings;
  const model = await hymba15b(settings);
  const runner = await openOnGpu(model, { slots: 1 });
  const ids = Array.from({ length: chunk }, (_, i) => (i * 37) % runner.model.vocabularySize);
  for (const context of contexts) {
    say(`  up to ${context}`);
    const before = Math.min(context, runner.model.contextLength) - chunk * chunks;
    const milliseconds: number[] = [];
    for (let round = 0; round < 3; round++) {
      const state =
        before > 0
          ? runner.importState(madeUpState(model.config, runner.model.fingerprint, before))
          : runner.newState();
      for (let at = 0; at < chunks; at++) {
        const start = performance.now();
        await runner.run(state, { ids, rows: [chunk - 1] });
        // A round's first chunk brings the state to the GPU.
        if (at > 0) milliseconds.push(performance.now() - start);
      }
      runner.freeState(state);
    }
    yield { context, 'ms a chunk': summarize(milliseconds), 'tokens/s': rateOf(milliseconds, chunk) };
  }
  await runner.close();
}
