import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { convert } from '@baton/hymba';
import { loadTokenizer } from '@baton/hymba/tokenizer';
import { goldenCheckpoint } from '@baton/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { deviceProblem } from '../device.ts';
import { describeEngineConformance } from '../engine-conformance.ts';
import type { ThreadOptions } from '../thread/messages.ts';
import { createEngine, ThreadedEngine } from '../threaded-engine.ts';

const missing = (await deviceProblem('webgpu')) !== null;

describe.skipIf(missing)('on WebGPU', () => {
  let folder: string;
  let modelDir: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'engine-'));
    modelDir = join(folder, 'model');
    await convert(goldenCheckpoint('no-sharing'), modelDir, { kvCache: 'float32' });
  });
  afterAll(() => rm(folder, { recursive: true }));

  describeEngineConformance(
    'ThreadedEngine',
    async () => {
      const vocabulary = await loadTokenizer(modelDir);
      const engine = await createEngine({ modelDir, threads: 1, device: 'webgpu', slots: 2 });
      return { engine, vocabulary, prompt: vocabulary.encode('A boat') };
    },
    { slow: true },
  );

  it('has run both graphs, over a chunk and over a token, when it is ready', async () => {
    const stages: string[] = [];
    const thread = new Worker(new URL('../thread/model-thread.ts', import.meta.url), {
      workerData: { modelDir, threads: 1, device: 'webgpu', prefillChunk: 24 } satisfies ThreadOptions,
      execArgv: ['--import', new URL('../testing/tell-runs.ts', import.meta.url).href],
    });
    const engine = await ThreadedEngine.over(thread, (stage) => stages.push(stage));
    expect(stages.slice(stages.indexOf('warming up'))).toEqual([
      'warming up',
      'tokens run: 24',
      'tokens run: 1',
    ]);
    await engine.close();
  });
});
