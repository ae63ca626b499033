import { hash } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CheckpointError, EngineDiedError, MessageError, RequestError, ServerError } from '@baton/errors';
import { convert, graphNames, writeRandomCheckpoint } from '@baton/hymba';
import { goldenCheckpoint } from '@baton/testing';
import { InferenceSession } from 'onnxruntime-node';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { ModelRunner } from './model-runner.ts';
import { SlotArray } from './state/slot-array.ts';
import { sessionPrototype } from './testing/session-prototype.ts';

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

describe('streams beside a sequence', () => {
  // With the 4 meta tokens more rows than the 128 that caches begin with.
  const prompt = Array.from({ length: 128 }, (_, i) => i);
  afterEach(() => vi.restoreAllMocks());

  it.each([
    { title: 'that begins', begin: (other: ModelRunner) => other.newState({ prompt, replay: [] }), fed: 0 },
    {
      title: 'that replays',
      begin: (other: ModelRunner) => other.newState({ prompt: prompt.slice(0, 9), replay: prompt.slice(9) }),
      fed: 0,
    },
    {
      title: 'that is restored',
      begin: async (other: ModelRunner) => {
        const before = other.newState();
        await other.run(before, { ids: prompt.slice(0, 7), rows: [] });
        const state = [await other.exportState(before)];
        other.freeState(before);
        return other.importState(state, { prompt, replay: [] });
      },
      fed: 7,
    },
  ])('$title do not wait for arrays to move while it is fed', async ({ begin, fed }) => {
    const other = await ModelRunner.open(join(folder, 'model'), { threads: 1, slots: 2 });
    const stream = other.newState();
    const resize = vi.spyOn(SlotArray.prototype, 'resize');
    const state = await begin(other);
    expect(resize).toHaveBeenCalled();
    resize.mockClear();
    for (let from = fed; from < prompt.length; from += 40) {
      await other.run(state, { ids: prompt.slice(from, from + 40), rows: [] });
      await other.run(stream, { ids: [5], rows: [0] });
    }
    expect(resize).not.toHaveBeenCalled();
    await other.close();
  });

  it('do not pay for copies of outputs that pile up: each is freed at once, also while the model opens', async () => {
    const copies: unknown[] = [];
    const { run } = sessionPrototype;
    vi.spyOn(sessionPrototype, 'run').mockImplementation(async function (this: InferenceSession, ...given) {
      const found = await (run as (...given: unknown[]) => Promise<InferenceSession.ReturnType>).apply(
        this,
        given,
      );
      copies.push(...Object.values(found).map(({ data }) => data));
      return found;
    });
    const other = await ModelRunner.open(join(folder, 'model'), { threads: 1 });
    const state = other.newState();
    await other.run(state, { ids: [5, 6], rows: [0] });
    await other.run(state, { ids: [7], rows: [0] });
    // Of each run the logits, new rows of three caches and the states of the layers.
    expect(copies.length).toBeGreaterThan(3 * 7);
    for (const copy of copies) expect((copy as Float32Array<ArrayBuffer>).buffer.detached).toBe(true);
    await other.close();
  });
});

describe('a failure of the runtime', () => {
  const poison = 13;
  const { run } = sessionPrototype;
  const failWhere = (fails: (ids: BigInt64Array) => boolean) =>
    vi.spyOn(sessionPrototype, 'run').mockImplementation(function (this: InferenceSession, ...given) {
      const { data } = (given[0] as InferenceSession.OnnxValueMapType)[graphNames.inputIds] ?? {};
      if (fails(data as BigInt64Array)) throw new Error('an illegal memory access was encountered');
      return (run as (...given: unknown[]) => Promise<InferenceSession.ReturnType>).apply(this, given);
    });
  afterEach(() => vi.restoreAllMocks());

  it.each([[[5, 6, poison]], [[poison]]])(
    'at %j alone fails that sequence, and others go on',
    async (ids) => {
      const other = runner.newState();
      await runner.run(other, { ids: [9, 8], rows: [] });
      failWhere((fed) => fed.includes(BigInt(poison)));
      const state = runner.newState();
      const failure = await runner.run(state, { ids, rows: [0] }).catch((error: unknown) => error);
      expect(failure).toBeInstanceOf(ServerError);
      runner.freeState(state);
      const after = await runner.run(other, { ids: [7], rows: [0] });
      vi.restoreAllMocks();
      expectClose(after, await runner.run(runner.newState(), { ids: [9, 8, 7], rows: [2] }));
    },
  );

  it.each([[[5, 6, 7]], [[5]]])('at whatever is fed, as %j, is the end of the engine', async (ids) => {
    const state = runner.newState();
    failWhere(() => true);
    await expect(runner.runBatch([{ state, ids, rows: [] }])).rejects.toThrow(EngineDiedError);
    runner.freeState(state);
  });

  it('at one of a batch is the end of the engine: nobody else is to fail for it', async () => {
    failWhere((fed) => fed.includes(BigInt(poison)));
    const states = [runner.newState(), runner.newState()];
    const steps = states.map((state, index) => ({ state, ids: [index === 0 ? poison : 5], rows: [0] }));
    await expect(runner.runBatch(steps)).rejects.toThrow(EngineDiedError);
    for (const state of states) runner.freeState(state);
  });

  it('on a GPU is the end of the engine', async () => {
    const { create } = InferenceSession;
    vi.spyOn(InferenceSession, 'create').mockImplementation((file: unknown, options?: object) =>
      create(file as string, { ...options, executionProviders: ['cpu'] }),
    );
    const gpu = await ModelRunner.open(join(folder, 'model'), { threads: 1, device: 'cuda' });
    failWhere((fed) => fed.includes(BigInt(poison)));
    const steps = [{ state: gpu.newState(), ids: [5, poison], rows: [] }];
    await expect(gpu.runBatch(steps)).rejects.toThrow(EngineDiedError);
    await gpu.close();
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

  it('says what its tokens stand for', async () => {
    const tokenizer = await readFile(join(goldenCheckpoint('no-sharing'), 'tokenizer.json'));
    expect(runner.model.tokenizer).toBe(hash('sha256', tokenizer));
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
