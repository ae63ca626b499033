import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  CheckpointError,
  ConfigurationError,
  EngineDiedError,
  MessageError,
  RequestError,
} from '@baton/errors';
import { buildFloat16Probe, convert, graphFiles } from '@baton/hymba';
import { exampleJob } from '@baton/protocol/testing';
import { goldenCheckpoint, goldenNames } from '@baton/testing';
import type { InferenceSession } from 'onnxruntime-node';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { deviceProblem } from '../device.ts';
import { ModelRunner } from '../model-runner.ts';
import {
  continueGreedily,
  type Expected,
  feed,
  largestDifference,
  readExpected,
  tolerance,
} from '../testing/golden-data.ts';
import { sessionPrototype } from '../testing/session-prototype.ts';
import { createEngine } from '../threaded-engine.ts';
import { openOnGpu } from './open-on-gpu.ts';
import { WebGpuRunner } from './webgpu-runner.ts';

const missing = (await deviceProblem('webgpu')) !== null;
const reason = missing
  ? " (skipped: no WebGPU here; Debian's chromium-common and libvulkan1 bring one in software)"
  : '';

describe.skipIf(missing).each(goldenNames)(`%s on WebGPU${reason}`, (name) => {
  let temporary: string;
  let runner: WebGpuRunner;
  let expected: Expected;

  beforeAll(async () => {
    temporary = await mkdtemp(join(tmpdir(), 'baton-webgpu-'));
    await convert(goldenCheckpoint(name), join(temporary, 'model'));
    runner = await WebGpuRunner.open(join(temporary, 'model'), { slots: 2 });
    expected = await readExpected(goldenCheckpoint(name));
  });

  afterAll(async () => {
    await runner?.close();
    await rm(temporary, { recursive: true, force: true });
  });

  const sequence = (index: number, tokens = Number.POSITIVE_INFINITY) => {
    const { ids = [], logits = new Float32Array() } = expected.sequences[index] ?? {};
    const rows = Math.min(tokens, ids.length);
    return { ids: ids.slice(0, rows), logits: logits.subarray(0, (rows * logits.length) / ids.length) };
  };

  it.each([
    { title: 'in one prefill', index: 0, tokens: Number.POSITIVE_INFINITY, chunk: Number.POSITIVE_INFINITY },
    { title: 'in chunks of 7', index: 1, tokens: 49, chunk: 7 },
    { title: 'token by token', index: 0, tokens: 14, chunk: 1 },
  ])('gives the logits of the released code $title', async ({ index, tokens, chunk }) => {
    const { ids, logits } = sequence(index, tokens);
    expect(ids.length).toBeGreaterThan(0);
    const state = runner.newState();
    expect(largestDifference(await feed(runner, state, ids, chunk), logits)).toBeLessThan(tolerance);
    runner.freeState(state);
  });

  it('gives the greedy continuation of the released code', async () => {
    const { greedyIds } = expected;
    const state = runner.newState();
    expect(await continueGreedily(runner, state, greedyIds.slice(0, 24), greedyIds.length)).toEqual(
      greedyIds,
    );
    runner.freeState(state);
  });

  it('goes on from what it exported, bit for bit as if it had never left', async () => {
    const { ids } = sequence(1, 50);
    const state = runner.newState();
    await feed(runner, state, ids.slice(0, 41), 41);
    const restored = runner.importState([await runner.exportState(state)]);
    const rest = ids.slice(41);
    expect(await feed(runner, restored, rest, 3)).toEqual(await feed(runner, state, rest, 3));
    expect(await runner.exportState(restored)).toEqual(await runner.exportState(state));
    for (const each of [state, restored]) runner.freeState(each);
  });

  it('takes a sequence over from the CPU and hands it back', async () => {
    const cpu = await ModelRunner.open(join(temporary, 'model'), { threads: 1 });
    const { ids, logits } = sequence(0, 60);
    const first = cpu.newState();
    const found = await feed(cpu, first, ids.slice(0, 25), 10);
    const second = runner.importState([await cpu.exportState(first)]);
    found.push(...(await feed(runner, second, ids.slice(25, 40), 5)));
    cpu.freeState(first);
    const third = cpu.importState([await runner.exportState(second)]);
    found.push(...(await feed(cpu, third, ids.slice(40), 10)));
    expect(largestDifference(found, logits)).toBeLessThan(tolerance);
    runner.freeState(second);
    await cpu.close();
  });
});

describe.skipIf(missing)(`a sequence on WebGPU${reason}`, () => {
  let folder: string;
  let runner: WebGpuRunner;
  /** As many as its context holds: with the 4 meta tokens more rows than the 128 that its caches begin with. */
  const ids = Array.from({ length: 128 }, (_, i) => (i * 37) % 264);

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'baton-webgpu-'));
    await convert(goldenCheckpoint('no-sharing'), join(folder, 'model'));
    runner = await WebGpuRunner.open(join(folder, 'model'), { slots: 2 });
  });

  afterAll(async () => {
    await runner?.close();
    await rm(folder, { recursive: true, force: true });
  });

  it('outgrows the room that its caches begin with, to the last token of the context', async () => {
    const cpu = await ModelRunner.open(join(folder, 'model'), { threads: 1 });
    const state = runner.newState();
    const found = await feed(runner, state, ids, 64);
    const expected = await feed(cpu, cpu.newState(), ids, 64);
    expect(largestDifference(found, Float32Array.from(expected))).toBeLessThan(tolerance);
    await expect(runner.run(state, { ids: [6], rows: [] })).rejects.toMatchObject({
      code: 'context_length_exceeded',
    });
    runner.freeState(state);
    await cpu.close();
  });

  it('runs in a batch beside shorter and longer ones, and keeps its state while only others go on', async () => {
    const cpu = await ModelRunner.open(join(folder, 'model'), { threads: 1, slots: 3 });
    const gpu = await WebGpuRunner.open(join(folder, 'model'), { slots: 3, chunk: 6 });
    const pairs = [5, 17, 30].map((length, index) => ({
      prompt: ids.slice(index, index + length),
      onGpu: gpu.newState(),
      onCpu: cpu.newState(),
    }));
    const expectSame = (found: unknown, expected: unknown) =>
      expect(largestDifference([...(found as Float32Array)], expected as Float32Array)).toBeLessThan(
        tolerance,
      );
    for (const { prompt, onGpu, onCpu } of pairs) {
      const step = { ids: prompt, rows: [0, prompt.length - 1] };
      expectSame(await gpu.run(onGpu, step), await cpu.run(onCpu, step));
    }
    for (const [at, members] of [[2, 0, 1], [0, 2], [2], [1, 2, 0], [1]].entries()) {
      const chosen = members.map((member) => pairs[member] ?? expect.fail());
      const step = (member: number) => ({ ids: [(at * 13 + member) % 200], rows: [0] });
      const found = await gpu.runBatch(chosen.map(({ onGpu }, i) => ({ state: onGpu, ...step(i) })));
      const expected = await cpu.runBatch(chosen.map(({ onCpu }, i) => ({ state: onCpu, ...step(i) })));
      for (const [i, logits] of found.entries()) expectSame(logits, expected[i]);
    }
    const [first = expect.fail()] = pairs;
    gpu.freeState(first.onGpu);
    cpu.freeState(first.onCpu);
    const joined = { onGpu: gpu.newState(), onCpu: cpu.newState() };
    const step = { ids: [7], rows: [0] };
    const others = pairs.slice(1);
    const found = await gpu.runBatch([joined, ...others].map(({ onGpu }) => ({ state: onGpu, ...step })));
    const expected = await cpu.runBatch([joined, ...others].map(({ onCpu }) => ({ state: onCpu, ...step })));
    for (const [i, logits] of found.entries()) expectSame(logits, expected[i]);
    await Promise.all([gpu.close(), cpu.close()]);
  });

  it('does not touch another, and fails without one', async () => {
    const [state, other] = [runner.newState(), runner.newState()];
    const [found, refused] = await runner.runBatch([
      { state, ids: [9, 8], rows: [] },
      { state: other, ids: [264], rows: [0] },
    ]);
    expect(found).toEqual(new Float32Array());
    expect(refused).toBeInstanceOf(RequestError);
    await runner.run(other, { ids: [1, 2, 3], rows: [2] });
    const beside = await runner.run(state, { ids: [7], rows: [0] });
    for (const each of [state, other]) runner.freeState(each);
    const lone = runner.newState();
    await runner.run(lone, { ids: [9, 8], rows: [] });
    expect(await runner.run(lone, { ids: [7], rows: [0] })).toEqual(beside);
    runner.freeState(lone);
  });

  it('ends the engine where the GPU fails, in a step of any kind and while a state is read', async () => {
    const state = runner.newState();
    const lost = vi.spyOn(sessionPrototype, 'run').mockRejectedValue(new Error('device lost'));
    for (const ids of [[5, 6], [5]]) {
      await expect(runner.runBatch([{ state, ids, rows: [] }])).rejects.toThrow(EngineDiedError);
    }
    await expect(runner.exportState(state)).rejects.toThrow(EngineDiedError);
    lost.mockRestore();
    runner.freeState(state);
  });

  it('gets a slot only where one is free', () => {
    const states = [runner.newState(), runner.newState()];
    expect(() => runner.newState()).toThrow(RangeError);
    for (const state of states) runner.freeState(state);
    runner.freeState(runner.newState());
  });

  it('has as many slots as the state memory holds at full length, beside its desk and its start', async () => {
    const model = join(folder, 'model');
    const full = runner.slotBytes(runner.model.contextLength);
    const cut = await WebGpuRunner.open(model, { slots: 8, stateMemory: 5.5 * full });
    expect(cut.slots).toBe(3);
    await cut.close();
    const opening = WebGpuRunner.open(model, { slots: 8, stateMemory: 2.9 * full });
    await expect(opening).rejects.toThrow(ConfigurationError);
  });

  it.each([
    { rows: 3 * 132, advice: 'it must be at most 3' },
    { rows: 100, advice: 'it has none for one either' },
  ])('is refused at once where a piece of memory cannot have $rows rows', async ({ rows, advice }) => {
    // The largest: three KV heads with values of 32.
    const most = BigInt(rows * 3 * 32);
    const { run } = sessionPrototype;
    vi.spyOn(sessionPrototype, 'run').mockImplementation(function (this: InferenceSession, ...given) {
      const [size] = ((given[0] as InferenceSession.OnnxValueMapType)['size']?.data ?? []) as BigInt64Array;
      if (size !== undefined && size > most) throw new Error('the buffer is too large');
      return (run as (...given: unknown[]) => Promise<InferenceSession.ReturnType>).apply(this, given);
    });
    const opening = WebGpuRunner.open(join(folder, 'model'), { slots: 8 });
    const failure = await opening.catch((error: unknown) => error);
    vi.restoreAllMocks();
    expect(failure).toBeInstanceOf(ConfigurationError);
    expect(String(failure)).toMatch(/BATON_SLOTS is 8, .* of 128 tokens; .* the buffer is too large/);
    expect(String(failure)).toContain(advice);
  });

  it('runs in an engine beside others', async () => {
    const modelDir = join(folder, 'model');
    const engine = await createEngine({ modelDir, threads: 1, device: 'webgpu', slots: 2, prefillChunk: 24 });
    const { greedyIds } = await readExpected(goldenCheckpoint('no-sharing'));
    const sampling = exampleJob({ sampling: { ignore_eos: true, max_tokens: 5, temperature: 0 } }).sampling;
    const request = { tenant: 'tenant', replay: [], replayTextLength: 0, promptLogprobsFrom: 0, sampling };
    const tokensOf = async (id: string, prompt: number[]) => {
      const outputs = engine.generate({ ...request, id, prompt }, new AbortController().signal);
      const found = (await Array.fromAsync(outputs)).map((output) =>
        output.kind === 'tokens' ? output.tokens : [],
      );
      return found.flat();
    };
    const [found] = await Promise.all([
      tokensOf('resp_0', greedyIds.slice(0, 24)),
      tokensOf('resp_1', [5, 6, 7]),
    ]);
    expect(found).toEqual(greedyIds.slice(24, 29));
    await engine.close();
  });

  it('has no operator on the CPU: a graph that has one does not open', async () => {
    await (await openOnGpu(join(folder, 'model', graphFiles.webgpuDecode))).release();
    // This one has a Scan, which WebGPU lacks.
    await expect(openOnGpu(join(folder, 'model', graphFiles.prefill))).rejects.toThrow(CheckpointError);
  });

  it.each(['int4', 'int4-32'] as const)('may have %s weights', async (weights) => {
    const int4 = join(folder, weights);
    await convert(goldenCheckpoint('no-sharing'), int4, { weights, kvCache: 'float32' });
    const [gpu, cpu] = [await WebGpuRunner.open(int4), await ModelRunner.open(int4, { threads: 1 })];
    const found = await feed(gpu, gpu.newState(), ids.slice(0, 9), 8);
    const expected = await feed(cpu, cpu.newState(), ids.slice(0, 9), 8);
    const sumOfSquares = (values: readonly number[]) => values.reduce((sum, value) => sum + value ** 2, 0);
    const difference = sumOfSquares(found.map((value, i) => value - (expected[i] ?? Number.NaN)));
    // The CPU rounds what it multiplies with int4 to int8, the GPU only some of it.
    expect(Math.sqrt(difference / sumOfSquares(expected))).toBeLessThan(0.1);
    await Promise.all([gpu.close(), cpu.close()]);
  });

  it('is not taken over from another model', async () => {
    const state = runner.newState();
    const data = await runner.exportState(state);
    runner.freeState(state);
    expect(() => runner.importState([{ ...data, fingerprint: 'other' }])).toThrow(MessageError);
  });
});

it('refuses int8 weights, which WebGPU cannot multiply', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'baton-webgpu-'));
  await convert(goldenCheckpoint('no-sharing'), join(folder, 'model'), { weights: 'int8' });
  await expect(WebGpuRunner.open(join(folder, 'model'))).rejects.toThrow(ConfigurationError);
  await rm(folder, { recursive: true });
});

it.skipIf(missing)(`rounds keys and values to float16, or says that this GPU has none${reason}`, async () => {
  const folder = await mkdtemp(join(tmpdir(), 'baton-webgpu-'));
  await convert(goldenCheckpoint('no-sharing'), join(folder, 'model'), { kvCache: 'float16' });
  try {
    const runner = await WebGpuRunner.open(join(folder, 'model')).catch((error: unknown) => error);
    if ((await deviceProblem('webgpu', buildFloat16Probe())) !== null) {
      expect(runner).toBeInstanceOf(ConfigurationError);
      expect(String(runner)).toContain('set BATON_KV_CACHE to float32');
      return;
    }
    if (!(runner instanceof WebGpuRunner)) throw runner;
    const state = runner.newState();
    await feed(runner, state, [5, 6, 7, 8], 3);
    for (const { keys, values } of (await runner.exportState(state)).caches) {
      expect([...keys, ...values].map(Math.f16round)).toEqual([...keys, ...values]);
    }
    await runner.close();
  } finally {
    await rm(folder, { recursive: true });
  }
});
