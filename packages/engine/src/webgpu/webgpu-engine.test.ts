import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { convert } from '@baton/hymba';
import { loadTokenizer } from '@baton/hymba/tokenizer';
import { goldenCheckpoint } from '@baton/testing';
import { afterAll, beforeAll, describe } from 'vitest';
import { deviceProblem } from '../device.ts';
import { describeEngineConformance } from '../engine-conformance.ts';
import { createEngine } from '../threaded-engine.ts';

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
});
