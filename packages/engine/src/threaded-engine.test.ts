import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { CheckpointError, ConfigurationError, EngineDiedError, ServerError } from '@baton/errors';
import { convert } from '@baton/hymba';
import { loadTokenizer } from '@baton/hymba/tokenizer';
import { exampleJob } from '@baton/protocol/testing';
import { tinyStoriesCheckpoint } from '@baton/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { describeEngineConformance } from './engine-conformance.ts';
import type { ThreadOptions } from './thread/messages.ts';
import { createEngine, ThreadedEngine } from './threaded-engine.ts';

let folder: string;
let modelDir: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'engine-'));
  modelDir = join(folder, 'model');
  await convert(tinyStoriesCheckpoint(), modelDir);
});
afterAll(() => rm(folder, { recursive: true }));

describeEngineConformance('ThreadedEngine', async () => {
  const vocabulary = await loadTokenizer(modelDir);
  const prompt = vocabulary.encode('Once upon a time, there was a little boat');
  return { engine: await createEngine({ modelDir, threads: 1 }), vocabulary, prompt };
});

describe('ThreadedEngine', () => {
  const request = {
    id: 'resp_0',
    tenant: 'tenant',
    prompt: [1, 5, 6],
    replay: [],
    replayTextLength: 0,
    promptLogprobsFrom: 0,
    sampling: exampleJob({ sampling: { ignore_eos: true, max_tokens: 2000 } }).sampling,
  };
  const never = new AbortController().signal;

  it('fails what runs and what comes with EngineDiedError when its thread dies', async () => {
    // Terminating the real thread in the middle of a run aborts the process, inside the runtime's binding.
    const dying = `
      const { parentPort } = require('node:worker_threads');
      const model = { fingerprint: '0', vocabularySize: 9, contextLength: 9 };
      parentPort.postMessage({ type: 'ready', model, capacity: {} });
      parentPort.once('message', ({ run }) => {
        const output = { kind: 'tokens', tokens: [5], text: 'a' };
        parentPort.postMessage({ type: 'events', events: [{ type: 'output', run, output }] });
        parentPort.once('message', () => { throw new Error('out of memory'); });
      });`;
    const engine = await ThreadedEngine.over(new Worker(dying, { eval: true }));
    const running = engine.generate(request, never);
    await running.next();
    const waiting = expect(Array.fromAsync(engine.generate(request, never))).rejects.toThrow(EngineDiedError);
    const failed = expect(Array.fromAsync(running)).rejects.toThrow('out of memory');
    await failed;
    await waiting;
    expect(await engine.died).toBeInstanceOf(EngineDiedError);
    await expect(Array.fromAsync(engine.generate(request, never))).rejects.toThrow(EngineDiedError);
    await engine.close();
  });

  it('dies with its device, so that what runs and what comes can go on elsewhere', async () => {
    const thread = new Worker(new URL('./thread/model-thread.ts', import.meta.url), {
      workerData: { modelDir, threads: 1 } satisfies ThreadOptions,
      execArgv: ['--import', new URL('./testing/lose-device.ts', import.meta.url).href],
    });
    const engine = await ThreadedEngine.over(thread);
    const running = engine.generate(request, never);
    await running.next();
    const fatal = Array.fromAsync(engine.generate({ ...request, prompt: [5, 77] }, never));
    await expect(fatal).rejects.toThrow(EngineDiedError);
    await expect(Array.fromAsync(running)).rejects.toThrow('the device is lost');
    expect(await engine.died).toBeInstanceOf(EngineDiedError);
    await expect(Array.fromAsync(engine.generate(request, never))).rejects.toThrow(EngineDiedError);
    await engine.close();
  });

  it('has run both graphs, over a chunk and over a token, when it is ready', async () => {
    const stages: string[] = [];
    const thread = new Worker(new URL('./thread/model-thread.ts', import.meta.url), {
      workerData: { modelDir, threads: 1, prefillChunk: 24 } satisfies ThreadOptions,
      execArgv: ['--import', new URL('./testing/tell-runs.ts', import.meta.url).href],
    });
    const engine = await ThreadedEngine.over(thread, (stage) => stages.push(stage));
    expect(stages.slice(stages.indexOf('warming up'))).toEqual([
      'warming up',
      'tokens run: 24',
      'tokens run: 1',
    ]);
    await engine.close();
  });

  it('refuses, by its class, a model that cannot be opened', async () => {
    const missing = createEngine({ modelDir: join(folder, 'nothing'), threads: 1 });
    const error = await missing.catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(CheckpointError);
    expect(error).toMatchObject({ file: expect.stringContaining('nothing') });
  });

  it('refuses a state memory without room for one sequence before it opens any graph', async () => {
    const stages: string[] = [];
    const opening = createEngine({ modelDir, threads: 1, stateMemory: 2 ** 20 }, (stage) =>
      stages.push(stage),
    );
    await expect(opening).rejects.toThrow(ConfigurationError);
    await expect(opening).rejects.toThrow(/^BATON_STATE_MEMORY is 1 \(MiB\)/);
    expect(stages.at(-1)).toBe('checking the files');
  });

  it('refuses a thread that dies before it is ready', async () => {
    const thread = new Worker('process.exit(3)', { eval: true });
    await expect(ThreadedEngine.over(thread)).rejects.toThrow(ServerError);
    const throwing = new Worker('throw new Error("broken")', { eval: true });
    await expect(ThreadedEngine.over(throwing)).rejects.toThrow('broken');
  });
});
