import { Checkpoint } from '@baton/hymba';
import { expect } from 'vitest';
import type { Step } from '../batch/runner.ts';

/** Most that a logit may differ from the released code's, where logits have a standard deviation of 1 to 6. */
export const tolerance = 1e-3;

/** What the released code computed for a checkpoint. */
export interface Expected {
  readonly sequences: readonly { readonly ids: number[]; readonly logits: Float32Array }[];
  readonly greedyIds: number[];
}

export async function readExpected(folder: string): Promise<Expected> {
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

interface StepRunner<State> {
  run(state: State, step: Step): Promise<Float32Array>;
}

/** Feeds `ids` in chunks and gives the logits of all of them, one row after another. */
export async function feed<State>(
  runner: StepRunner<State>,
  state: State,
  ids: readonly number[],
  chunk: number,
): Promise<number[]> {
  const logits: number[] = [];
  for (let from = 0; from < ids.length; from += chunk) {
    const part = ids.slice(from, from + chunk);
    logits.push(...(await runner.run(state, { ids: part, rows: [...part.keys()] })));
  }
  return logits;
}

/** Feeds `prompt` and then always the likeliest token, until there are `length` of them. */
export async function continueGreedily<State>(
  runner: StepRunner<State>,
  state: State,
  prompt: readonly number[],
  length: number,
): Promise<number[]> {
  const ids = [...prompt];
  let next = prompt;
  while (ids.length < length) {
    const logits = await runner.run(state, { ids: next, rows: [next.length - 1] });
    next = [logits.indexOf(Math.max(...logits))];
    ids.push(...next);
  }
  return ids;
}

export function largestDifference(found: readonly number[], expected: Float32Array): number {
  expect(found).toHaveLength(expected.length);
  return found.reduce(
    (largest, value, i) => Math.max(largest, Math.abs(value - (expected[i] ?? Number.NaN))),
    0,
  );
}
