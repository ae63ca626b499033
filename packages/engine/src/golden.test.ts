import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { convert, embeddedModel } from '@baton/hymba';
import { goldenCheckpoint, goldenNames, tinyStoriesCheckpoint } from '@baton/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ModelRunner } from './model-runner.ts';
import {
  continueGreedily,
  type Expected,
  feed,
  largestDifference,
  readExpected,
  tolerance,
} from './testing/golden-data.ts';

const checkpoints = [
  ...goldenNames.map((name) => ({ name, folder: goldenCheckpoint(name), promptLength: 24 })),
  { name: 'hymba-tiny-stories', folder: tinyStoriesCheckpoint(), promptLength: 16 },
  // By the code that trained it, which agrees with the released code on the checkpoints above.
  { name: 'hymba-stories-22m', folder: embeddedModel, promptLength: 16 },
];

describe.each(checkpoints)('$name gives the logits of the released code', ({ folder, promptLength }) => {
  let temporary: string;
  let runner: ModelRunner;
  let expected: Expected;

  beforeAll(async () => {
    temporary = await mkdtemp(join(tmpdir(), 'baton-golden-'));
    await convert(folder, join(temporary, 'model'));
    runner = await ModelRunner.open(join(temporary, 'model'), { threads: 1, slots: 2 });
    expected = await readExpected(folder);
  });

  afterAll(async () => {
    await runner?.close();
    await rm(temporary, { recursive: true, force: true });
  });

  it.each([
    { title: 'in one prefill', chunk: Number.POSITIVE_INFINITY },
    { title: 'token by token', chunk: 1 },
    { title: 'in chunks of 7', chunk: 7 },
    { title: 'in chunks of 16', chunk: 16 },
  ])('$title', async ({ chunk }) => {
    for (const { ids, logits } of expected.sequences) {
      const state = runner.newState();
      const found = await feed(runner, state, ids, chunk);
      runner.freeState(state);
      expect(largestDifference(found, logits)).toBeLessThan(tolerance);
    }
  });

  it.each([1, 7])('restored from its own exported state after every %i tokens', async (every) => {
    for (const { ids, logits } of expected.sequences) {
      const found: number[] = [];
      let state = runner.newState();
      for (let from = 0; from < ids.length; from += every) {
        found.push(...(await feed(runner, state, ids.slice(from, from + every), every)));
        const data = await runner.exportState(state);
        runner.freeState(state);
        state = runner.importState([data]);
      }
      runner.freeState(state);
      expect(largestDifference(found, logits)).toBeLessThan(tolerance);
    }
  });

  it('restored in the middle, bit for bit as if it had never left', async () => {
    for (const { ids } of expected.sequences) {
      const middle = Math.floor(ids.length / 2);
      const state = runner.newState();
      await feed(runner, state, ids.slice(0, middle), 5);
      const restored = runner.importState([await runner.exportState(state)]);
      const rest = ids.slice(middle);
      expect(await feed(runner, restored, rest, 1)).toEqual(await feed(runner, state, rest, 1));
      expect(await runner.exportState(restored)).toEqual(await runner.exportState(state));
      for (const slot of [state, restored]) runner.freeState(slot);
    }
  });

  it('and its greedy continuation', async () => {
    const { greedyIds } = expected;
    const state = runner.newState();
    const prompt = greedyIds.slice(0, promptLength);
    expect(await continueGreedily(runner, state, prompt, greedyIds.length)).toEqual(greedyIds);
    runner.freeState(state);
  });
});
