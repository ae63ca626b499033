import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { GraphBuilder } from '@baton/hymba/onnx';
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { summarize } from '../engine/report/statistics.ts';
import type { Row, Settings } from './main.ts';
import { readProfile } from './profile.ts';

/** Elements copied at a time: 512 MiB, ten times what an H100 can cache. */
const elements = 2 ** 27;

/** GB/s, bytes read and written counted, of a program that does nothing else, by the GPU's own clock. */
export async function copyBandwidth(rounds = 15): Promise<number[]> {
  const folder = await mkdtemp(join(tmpdir(), 'baton-bandwidth-'));
  const graph = new GraphBuilder('copy');
  const size = graph.input('size', 'int64', [1]);
  const memory = graph.op('Expand', [graph.input('x', 'float32', [1]), size]);
  graph.node('Neg', [graph.op('Neg', [memory])], ['copied']);
  // One element comes back, so that a run ends when the GPU is done.
  graph.node('Slice', ['copied', graph.int64s([0]), graph.int64s([1])], ['out']);
  graph.output('out', 'float32', ['M']);
  const session = await InferenceSession.create(graph.model(), {
    executionProviders: ['webgpu'],
    enableProfiling: true,
    profileFilePrefix: join(folder, 'copy'),
  });
  for (let round = 0; round < rounds; round++) {
    await session.run({
      x: new Tensor('float32', Float32Array.of(0.7), [1]),
      size: new Tensor('int64', BigInt64Array.of(BigInt(elements)), [1]),
    });
  }
  await session.release();
  const programs = await readProfile(folder, 'copy');
  await rm(folder, { recursive: true });
  return programs.filter(({ kind }) => kind === 'Neg').map(({ ms }) => (2 * 4 * elements) / 1e6 / ms);
}

export async function* bandwidth(_: Settings): AsyncGenerator<Row> {
  yield { 'GB/s read and written': summarize(await copyBandwidth()), 'MiB a copy': (elements * 4) / 2 ** 20 };
}
