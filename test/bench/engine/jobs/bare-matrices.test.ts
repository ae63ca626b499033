import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { convert, readConfig } from '@baton/hymba';
import { goldenCheckpoint } from '@baton/testing';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { BareMatrices } from './bare-matrices.ts';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'baton-bench-'));
});
afterEach(() => rm(folder, { recursive: true }));

it('runs every linear layer and the head, once each', async () => {
  const checkpoint = goldenCheckpoint('no-sharing');
  await convert(checkpoint, join(folder, 'model'), { weights: 'fp32' });
  await using matrices = await BareMatrices.open(join(folder, 'model'), 1);
  await matrices.run(2, 3);

  const config = await readConfig(checkpoint);
  const { hiddenSize: h, innerSize: d, dtRank, stateSize, intermediateSize: f } = config;
  const keysAndValues = config.kvHeads * (config.keySize + config.valueSize);
  const mixer = h * (h + keysAndValues + 2 * d) + d * (dtRank + 2 * stateSize) + dtRank * d + d * h;
  const mlp = h * f * (config.activation === 'silu' ? 3 : 2);
  const elements = config.layers * (mixer + mlp) + config.vocabularySize * h;
  expect(matrices.weightBytes).toBe(elements * Float32Array.BYTES_PER_ELEMENT);
});
