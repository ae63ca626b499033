import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { convert } from '@baton/hymba';
import { goldenCheckpoint, goldenNames } from '@baton/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ModelRunner } from './model-runner.ts';
import type { StateDelta } from './state/session-state.ts';

const ids = Array.from({ length: 50 }, (_, i) => (i * 31 + 5) % 264);

describe.each(goldenNames)('%s with a float16 KV cache', (name) => {
  let folder: string;
  let exact: ModelRunner;
  let rounded: ModelRunner;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'baton-kv-cache-'));
    const open = async (kvCache: 'float32' | 'float16') => {
      await convert(goldenCheckpoint(name), join(folder, kvCache), { kvCache });
      return ModelRunner.open(join(folder, kvCache), { threads: 1, slots: 2 });
    };
    exact = await open('float32');
    rounded = await open('float16');
  });

  afterAll(async () => {
    await Promise.all([exact?.close(), rounded?.close()]);
    await rm(folder, { recursive: true, force: true });
  });

  // ONNX Runtime may take two casts that undo each other out of a graph, but not these, which lose bits.
  it.each([50, 7, 1])('rounds all keys and values, %i tokens at once', async (chunk) => {
    const { state } = await run(rounded, chunk);
    const [first, ...others] = state.caches.map(({ keys, values }) => [...keys, ...values]);
    expect(first?.map(Math.f16round)).toEqual(first);
    for (const values of others) expect(values.map(Math.f16round)).toEqual(values);
    expect([...state.conv, ...state.ssm].some((values) => values.some(isNoFloat16))).toBe(true);
    if (chunk < ids.length) return;
    // What comes before the first keys and values is the same in both.
    const plain = (await run(exact, chunk)).state.caches[0];
    expect([...(plain?.keys ?? []), ...(plain?.values ?? [])].map(Math.f16round)).toEqual(first);
  });

  it('attends to rounded ones alone: chunks and single tokens agree with one prefill', async () => {
    const { logits } = await run(rounded, ids.length);
    const byRounding = largestDifference((await run(exact, ids.length)).logits, logits);
    for (const chunk of [7, 1]) {
      // Another order of sums may move a key over the edge between two float16 numbers.
      expect(largestDifference((await run(rounded, chunk)).logits, logits)).toBeLessThan(byRounding / 5);
    }
  });

  async function run(runner: ModelRunner, chunk: number): Promise<{ logits: number[]; state: StateDelta }> {
    const slot = runner.newState();
    let logits: number[] = [];
    for (let at = 0; at < ids.length; at += chunk) {
      const part = ids.slice(at, at + chunk);
      logits = [...(await runner.run(slot, { ids: part, rows: [part.length - 1] }))];
    }
    const state = await runner.exportState(slot);
    runner.freeState(slot);
    return { logits, state };
  }
});

function isNoFloat16(value: number): boolean {
  return Math.f16round(value) !== value;
}

function largestDifference(a: readonly number[], b: readonly number[]): number {
  return Math.max(...a.map((value, i) => Math.abs(value - (b[i] ?? Number.NaN))));
}
