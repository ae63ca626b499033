import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CheckpointError, MessageError, RequestError } from '@baton/errors';
import { convert, writeRandomCheckpoint } from '@baton/hymba';
import { goldenCheckpoint } from '@baton/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ModelRunner } from './model-runner.ts';

let folder: string;
let runner: ModelRunner;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'baton-runner-'));
  await convert(goldenCheckpoint('no-sharing'), join(folder, 'model'));
  runner = await ModelRunner.open(join(folder, 'model'), { threads: 1, slots: 40 });
});

afterAll(async () => {
  await runner?.close();
  await rm(folder, { recursive: true, force: true });
});

describe('a step', () => {
  it('gives logits for the rows asked for, and none where none are', async () => {
    const all = await runner.run(runner.newState(), { ids: [5, 6, 7], rows: [0, 1, 2] });
    const last = await runner.run(runner.newState(), { ids: [5, 6, 7], rows: [2] });
    expectClose(last, all.slice(2 * runner.model.vocabularySize));
    expect(await runner.run(runner.newState(), { ids: [5, 6, 7], rows: [] })).toHaveLength(0);
    expect(await runner.run(runner.newState(), { ids: [5], rows: [] })).toHaveLength(0);
  });

  it.each([
    { title: 'a meta token', ids: [264], code: 'invalid_value' },
    { title: 'a negative id', ids: [5, -1], code: 'invalid_value' },
    { title: 'nothing', ids: [], code: 'invalid_value' },
    { title: 'more than the context', ids: Array(129).fill(5), code: 'context_length_exceeded' },
  ])('of $title is refused and leaves the state as it was', async ({ ids, code }) => {
    const state = runner.newState();
    const refusal = await runner.run(state, { ids, rows: [] }).catch((error: unknown) => error);
    expect(refusal).toBeInstanceOf(RequestError);
    expect(refusal).toMatchObject({ code });
    expect(await runner.exportState(state)).toEqual(await runner.exportState(runner.newState()));
  });

  it('runs to the last token of the context', async () => {
    const state = runner.newState();
    await runner.run(state, { ids: Array(127).fill(5), rows: [] });
    const logits = await runner.run(state, { ids: [6], rows: [0] });
    expect(logits.every(Number.isFinite)).toBe(true);
    await expect(runner.run(state, { ids: [6], rows: [] })).rejects.toMatchObject({
      code: 'context_length_exceeded',
    });
  });

  it('of one sequence does not touch another', async () => {
    const alone = await runner.run(runner.newState(), { ids: [9, 8, 7], rows: [2] });
    const state = runner.newState();
    await runner.run(state, { ids: [9, 8], rows: [] });
    await runner.run(runner.newState(), { ids: [1, 2, 3, 4], rows: [] });
    const beside = await runner.run(state, { ids: [7], rows: [0] });
    expectClose(beside, alone);
  });
});

describe('a configuration that no golden checkpoint has', () => {
  it.each([
    { title: 'no meta tokens', changes: { num_memory_tokens: 0 } },
    { title: 'more meta tokens than the window', changes: { num_memory_tokens: 20, sliding_window: 3 } },
    { title: 'a window of one', changes: { sliding_window: 1 } },
    { title: 'no window', changes: { sliding_window: null } },
    { title: 'no global layer', changes: { global_attn_idx: [] } },
    { title: 'a short convolution', changes: { mamba_d_conv: 2 } },
    {
      title: 'grouped queries and narrow values',
      changes: { num_key_value_heads: 1, mamba_expand: 1, v_head_dim: 16 },
    },
  ])('$title: chunks and single tokens agree with one prefill', async ({ title, changes }) => {
    const name = title.replaceAll(' ', '-');
    const text = await readFile(join(goldenCheckpoint('no-sharing'), 'config.json'), 'utf8');
    await writeRandomCheckpoint(join(folder, `${name}-checkpoint`), { ...JSON.parse(text), ...changes });
    await convert(join(folder, `${name}-checkpoint`), join(folder, name));
    const odd = await ModelRunner.open(join(folder, name), { threads: 1, slots: 3 });
    const ids = Array.from({ length: 40 }, (_, i) => (i * 37) % 264);
    const whole = await odd.run(odd.newState(), { ids, rows: [39] });
    for (const chunk of [1, 9]) {
      let state = odd.newState();
      let last = new Float32Array();
      for (let from = 0; from < ids.length; from += chunk) {
        const part = ids.slice(from, from + chunk);
        last = Float32Array.from(await odd.run(state, { ids: part, rows: [part.length - 1] }));
        const data = await odd.exportState(state);
        odd.freeState(state);
        state = odd.importState([data]);
      }
      expectClose(last, whole);
    }
    expect(whole.some((value) => Math.abs(value) > 1e-3)).toBe(true);
    await odd.close();
  });
});

describe('a model', () => {
  it('is told by its fingerprint: no state of another is taken', async () => {
    const data = await runner.exportState(runner.newState());
    expect(() => runner.importState([{ ...data, fingerprint: 'other' }])).toThrow(MessageError);
  });

  it('that is damaged is refused by name', async () => {
    const other = join(folder, 'damaged');
    await convert(goldenCheckpoint('no-sharing'), other);
    await writeFile(join(other, 'decode.onnx'), 'not a graph');
    const error = await ModelRunner.open(other, { threads: 1, slots: 40 }).catch((error: unknown) => error);
    expect(error).toBeInstanceOf(CheckpointError);
    expect(error).toMatchObject({ code: 'invalid_checkpoint', file: join(other, 'decode.onnx') });
  });
});

/** A matrix product of other sizes may round its last bits otherwise. */
function expectClose(found: Float32Array, expected: Float32Array): void {
  expect(found).toHaveLength(expected.length);
  for (const [i, value] of found.entries()) expect(value).toBeCloseTo(expected[i] ?? Number.NaN, 4);
}
