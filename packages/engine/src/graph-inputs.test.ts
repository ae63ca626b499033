import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { convert, graphFiles, graphNames, type HymbaConfig, readConfig } from '@baton/hymba';
import { goldenCheckpoint, goldenNames } from '@baton/testing';
import { InferenceSession } from 'onnxruntime-node';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { graphInputs } from './graph-inputs.ts';
import { attentionBias } from './state/attention-bias.ts';
import { StatePool } from './state/state-pool.ts';

const slots = 3;

describe.each(goldenNames)('the graphs of %s, whose states are written where they are read,', (name) => {
  let folder: string;
  let config: HymbaConfig;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'baton-inputs-'));
    await convert(goldenCheckpoint(name), join(folder, 'model'));
    config = await readConfig(goldenCheckpoint(name));
  });
  afterAll(() => rm(folder, { recursive: true }));

  /** A pool whose slots hold some tokens and states that look like noise, the same each time. */
  function noisyPool(): StatePool {
    const pool = new StatePool(config, slots);
    for (let slot = 0; slot < slots; slot++) {
      const { kvHeads, keySize, valueSize } = config;
      const noise = (size: number) =>
        Float32Array.from({ length: size }, (_, i) => Math.sin(i * 12.9898 + slot));
      const count = 20 + slot;
      const rows = {
        count,
        keys: noise(kvHeads * count * keySize),
        values: noise(kvHeads * count * valueSize),
      };
      const own = pool.allocate();
      pool.append(
        own,
        count,
        0,
        config.caches.map(() => rows),
      );
      for (const array of [...pool.conv, ...pool.ssm]) array.view(slot).set(noise(array.stride));
    }
    return pool;
  }

  function inputsOf(pool: StatePool, first: number, batch: number, tokens: number) {
    const biases = pool.kinds.map((kind) =>
      tokens === 1
        ? kind.decodeBias.view(first, batch)
        : attentionBias(config, kind, { length: 20 + first, tokens }),
    );
    const ids = BigInt64Array.from({ length: batch * tokens }, (_, i) => BigInt(i + 3));
    const positions = BigInt64Array.from(ids, (_, i) => BigInt(20 + first + i));
    const logitRows = BigInt64Array.from({ length: batch * tokens }, (_, i) => BigInt(i));
    return graphInputs(config, pool, { first, batch, tokens, ids, positions, logitRows, biases });
  }

  it.each([
    { first: 0, batch: 1, tokens: 1 },
    { first: 0, batch: 3, tokens: 1 },
    { first: 1, batch: 1, tokens: 2 },
    { first: 1, batch: 1, tokens: 3 },
    { first: 0, batch: 1, tokens: 40 },
  ])('give, bit for bit, what they give with outputs apart: $batch × $tokens tokens', async (shape) => {
    const { first, batch, tokens } = shape;
    const file = join(folder, 'model', graphFiles[tokens === 1 ? 'decode' : 'prefill']);
    const graph = await InferenceSession.create(file, { intraOpNumThreads: 2 });
    const [apart, inPlace] = [noisyPool(), noisyPool()];
    const expected = await graph.run(inputsOf(apart, first, batch, tokens).feeds);
    const { feeds, fetches, logits, rows } = inputsOf(inPlace, first, batch, tokens);
    await graph.run(feeds, fetches);
    await graph.release();

    expect(logits).toEqual(expected[graphNames.logits]?.data);
    expect(rows).toHaveLength(config.caches.length);
    for (const [cache, { count, keys, values }] of rows.entries()) {
      expect(count).toBe(tokens);
      expect(keys).toEqual(expected[graphNames.newKeys(cache)]?.data);
      expect(values).toEqual(expected[graphNames.newValues(cache)]?.data);
    }
    for (const [arrays, nameOf] of [
      [inPlace.conv, graphNames.newConv],
      [inPlace.ssm, graphNames.newSsm],
    ] as const) {
      for (const [layer, array] of arrays.entries()) {
        expect(array.view(first, batch)).toEqual(expected[nameOf(layer)]?.data);
        const before = noisyPool();
        const same = arrays === inPlace.conv ? before.conv[layer] : before.ssm[layer];
        for (let slot = 0; slot < slots; slot++) {
          const others = slot < first || slot >= first + batch;
          if (others) expect(array.view(slot)).toEqual(same?.view(slot));
          else expect(array.view(slot)).not.toEqual(same?.view(slot));
        }
      }
    }
  });
});
