import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Checkpoint, convert } from '@baton/hymba';
import { goldenCheckpoint, goldenNames, tinyStoriesCheckpoint } from '@baton/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ModelRunner } from './model-runner.ts';
import type { Slot } from './state/state-pool.ts';

const checkpoints = [
  ...goldenNames.map((name) => ({ name, folder: goldenCheckpoint(name), promptLength: 24 })),
  { name: 'hymba-tiny-stories', folder: tinyStoriesCheckpoint(), promptLength: 16 },
];

/** Most that a logit may differ from the released code's, where logits have a standard deviation of 1 to 6. */
const tolerance = 1e-3;

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
        const data = structuredClone(runner.exportState(state));
        runner.freeState(state);
        state = runner.importState(data);
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
      const restored = runner.importState(structuredClone(runner.exportState(state)));
      const rest = ids.slice(middle);
      expect(await feed(runner, restored, rest, 1)).toEqual(await feed(runner, state, rest, 1));
      expect(runner.exportState(restored)).toEqual(runner.exportState(state));
      for (const slot of [state, restored]) runner.freeState(slot);
    }
  });

  it('and its greedy continuation', async () => {
    const ids = expected.greedyIds.slice(0, promptLength);
    const state = runner.newState();
    let next: readonly number[] = ids;
    while (ids.length < expected.greedyIds.length) {
      const logits = await runner.run(state, { ids: next, rows: [next.length - 1] });
      next = [logits.indexOf(Math.max(...logits))];
      ids.push(...next);
    }
    runner.freeState(state);
    expect(ids).toEqual(expected.greedyIds);
  });
});

/** Feeds `ids` in chunks and gives the logits of all of them, one row after another. */
async function feed(runner: ModelRunner, state: Slot, ids: readonly number[], chunk: number) {
  const logits: number[] = [];
  for (let from = 0; from < ids.length; from += chunk) {
    const part = ids.slice(from, from + chunk);
    logits.push(...(await runner.run(state, { ids: part, rows: [...part.keys()] })));
  }
  return logits;
}

function largestDifference(found: readonly number[], expected: Float32Array): number {
  expect(found).toHaveLength(expected.length);
  return found.reduce(
    (largest, value, i) => Math.max(largest, Math.abs(value - (expected[i] ?? Number.NaN))),
    0,
  );
}

interface Expected {
  readonly sequences: readonly { readonly ids: number[]; readonly logits: Float32Array }[];
  readonly greedyIds: number[];
}

async function readExpected(folder: string): Promise<Expected> {
  await using file = await Checkpoint.open(folder, 'expected.safetensors');
  const ids = async (name: string) => {
    const bytes = new Uint8Array(await file.bytes(name));
    return Array.from(new BigInt64Array(bytes.buffer), Number);
  };
  const [rows = 0, length = 0] = [...file.tensors].find(({ name }) => name === 'input_ids')?.shape ?? [];
  expect(rows * length).toBeGreaterThan(0);
  const inputIds = await ids('input_ids');
  const logits = await file.floats('logits');
  const perRow = logits.length / rows;
  return {
    sequences: Array.from({ length: rows }, (_, row) => ({
      ids: inputIds.slice(row * length, (row + 1) * length),
      logits: logits.subarray(row * perRow, (row + 1) * perRow),
    })),
    greedyIds: await ids('greedy_ids'),
  };
}
