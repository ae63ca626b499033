import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { convert, embeddedModel } from '@baton/hymba';
import { goldenCheckpoint, goldenNames, tinyStoriesCheckpoint } from '@baton/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ModelRunner } from './model-runner.ts';
import type { Slot } from './state/state-pool.ts';
import { feed, readExpected } from './testing/golden-data.ts';

const forms = ['int8', 'int4', 'int4-32'] as const;
const cases = goldenNames.flatMap((name) => forms.map((form) => ({ name, form })));

/** Of different lengths, so that they are at different positions of their windows. */
const prompts = [30, 3, 50, 17].map((length, seed) =>
  Array.from({ length }, (_, i) => (i * 31 + seed * 57 + 5) % 264),
);

describe.each(cases)('$name with $form weights', ({ name, form }) => {
  let folder: string;
  let runner: ModelRunner;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'baton-forms-'));
    await convert(goldenCheckpoint(name), join(folder, 'model'), { weights: form });
    runner = await ModelRunner.open(join(folder, 'model'), { threads: 1, slots: prompts.length + 1 });
  });

  afterAll(async () => {
    await runner?.close();
    await rm(folder, { recursive: true, force: true });
  });

  it('agrees with itself token by token, though every product rounds its inputs', async () => {
    for (const ids of prompts) {
      const whole = await inOneSlot((state) => runner.run(state, { ids, rows: [ids.length - 1] }));
      const single = await inOneSlot(async (state) => {
        for (const id of ids.slice(0, -1)) await runner.run(state, { ids: [id], rows: [] });
        return runner.run(state, { ids: ids.slice(-1), rows: [0] });
      });
      expect(distance(single, whole)).toBeLessThan(0.05);
    }
  });

  /**
   * int8's rows are independent of each other. int4's products sum in another order in a batch, and where that moves an
   * activation by its last bit over the edge between two of its rounded values, the logits move by a rounding too.
   */
  const tolerance = { int8: 1e-5, int4: 0.05, 'int4-32': 0.05 }[form];

  it('gives a sequence the same logits in a batch as alone', async () => {
    const alone: Float32Array[] = [];
    for (const ids of prompts) {
      alone.push(
        await inOneSlot(async (state) => {
          await runner.run(state, { ids: ids.slice(0, -1), rows: [] });
          return runner.run(state, { ids: ids.slice(-1), rows: [0] });
        }),
      );
    }
    const states: Slot[] = [];
    for (const ids of prompts) {
      const state = runner.newState();
      await runner.run(state, { ids: ids.slice(0, -1), rows: [] });
      states.push(state);
    }
    const together = await runner.runBatch(
      states.map((state, i) => ({ state, ids: prompts[i]?.slice(-1) ?? [], rows: [0] })),
    );
    for (const state of states) runner.freeState(state);
    for (const [i, logits] of together.entries()) {
      if (!(logits instanceof Float32Array)) throw logits;
      expect(distance(logits, alone[i] ?? new Float32Array())).toBeLessThan(tolerance);
    }
  });

  /** Logits are the runner's until its next step, so they are copied. */
  async function inOneSlot(run: (state: Slot) => Promise<Float32Array>): Promise<Float32Array> {
    const state = runner.newState();
    const logits = Float32Array.from(await run(state));
    runner.freeState(state);
    return logits;
  }
});

describe.each([
  { name: 'hymba-tiny-stories', checkpoint: tinyStoriesCheckpoint() },
  { name: 'hymba-stories-22m', checkpoint: embeddedModel },
])('$name, which was trained', ({ checkpoint }) => {
  it('stays near the logits of the released code, the nearer the more bits a weight has', async () => {
    const { sequences } = await readExpected(checkpoint);
    const distances: number[] = [];
    for (const form of ['int8', 'int4-32', 'int4'] as const) {
      const folder = await mkdtemp(join(tmpdir(), 'baton-forms-'));
      await convert(checkpoint, join(folder, 'model'), { weights: form });
      const runner = await ModelRunner.open(join(folder, 'model'), { threads: 1 });
      const [{ ids = [], logits = new Float32Array() } = {}] = sequences;
      const found = await feed(runner, runner.newState(), ids, 16);
      distances.push(distance(Float32Array.from(found), logits));
      await runner.close();
      await rm(folder, { recursive: true });
    }
    const [int8 = Number.NaN, int4By32 = Number.NaN, int4 = Number.NaN] = distances;
    expect(int8).toBeLessThan(0.02);
    expect(int4By32).toBeGreaterThan(int8);
    expect(int4).toBeGreaterThan(int4By32);
    expect(int4).toBeLessThan(0.05);
  });
});

/** Root of the mean squared difference, in standard deviations of the expected logits. */
function distance(found: Float32Array, expected: Float32Array): number {
  expect(found).toHaveLength(expected.length);
  const mean = expected.reduce((sum, value) => sum + value, 0) / expected.length;
  const spread = expected.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  const error = expected.reduce((sum, value, i) => sum + (value - (found[i] ?? Number.NaN)) ** 2, 0);
  return Math.sqrt(error / spread);
}
