import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { GraphBuilder } from '@baton/hymba/onnx';
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { summarize } from '../engine/report/statistics.ts';
import { decode, rateOf } from './decode.ts';
import { usedGB } from './gpu.ts';
import { llama3b, llamaNames, writeLlama } from './llama-graph.ts';
import type { Row, Settings } from './main.ts';

const context = 8192;
const batch = 128;

/**
 * The comparison that Hymba's paper makes (arXiv 2411.13676, table of the 1.5B models): tokens/s and cache at 8k context
 * and batch 128, a batch being halved until it fits.
 */
export async function* paper(settings: Settings): AsyncGenerator<Row> {
  for await (const row of decode({ ...settings, batches: [batch], contexts: [context] })) {
    const megabytes = Number(row['cache MB each']);
    yield {
      model: 'Hymba-1.5B sizes',
      batch,
      'ms a step': row['ms a step'] ?? null,
      'tokens/s': row['tokens/s'] ?? null,
      'cache MB each, float32': megabytes,
      'and as float16': megabytes / 2,
      'GPU GB in use': row['GPU GB in use'] ?? null,
    };
  }
  const { layers, kvHeads, headSize } = llama3b;
  const cacheBytes = 4 * 2 * layers * kvHeads * headSize * context;
  // What an 80 GB card has beside the weights.
  let fitting = batch;
  while (fitting * cacheBytes > 70e9) fitting /= 2;
  const { milliseconds, used } = await llamaSteps(settings, fitting);
  yield {
    model: "a transformer of Llama-3.2-3B's sizes",
    batch: fitting,
    'ms a step': summarize(milliseconds),
    'tokens/s': rateOf(milliseconds, fitting),
    'cache MB each, float32': cacheBytes / 1e6,
    'and as float16': cacheBytes / 2e6,
    'GPU GB in use': used,
  };
}

async function llamaSteps({ cache, steps, say }: Settings, sequences: number) {
  const folder = join(cache, 'llama-3.2-3b-sizes');
  say(`  Writing a random transformer into ${folder}`);
  await mkdir(folder, { recursive: true });
  const graph = await writeLlama(join(folder, 'weights.bin'), 'weights.bin', context);
  await writeFile(join(folder, 'decode.onnx'), graph);
  const session = await InferenceSession.create(join(folder, 'decode.onnx'), {
    executionProviders: ['webgpu'],
    extra: { session: { disable_cpu_ep_fallback: '1' } },
  });
  const memory = await gpuMemory();
  const { layers, kvHeads, headSize, vocabulary } = llama3b;
  const past: Record<string, Tensor> = {};
  const next: Record<string, Tensor> = {};
  for (let layer = 0; layer < layers; layer++) {
    const keys = await memory.zeros([sequences, kvHeads, headSize, context]);
    const values = await memory.zeros([sequences, kvHeads, context, headSize]);
    past[llamaNames.keys(layer)] = next[llamaNames.nextKeys(layer)] = keys;
    past[llamaNames.values(layer)] = next[llamaNames.nextValues(layer)] = values;
  }
  say(`  ${sequences} sequences`);
  const all = <Value>(value: Value) => new Array<Value>(sequences).fill(value);
  const milliseconds: number[] = [];
  for (let step = -2; step < steps; step++) {
    const position = context - steps + step;
    const ids = Array.from({ length: sequences }, (_, i) => BigInt((i * 31 + step + 7) % vocabulary));
    const start = performance.now();
    await session.run(
      {
        ...past,
        [llamaNames.input]: new Tensor('int64', BigInt64Array.from(ids), [sequences, 1]),
        [llamaNames.positionIds]: new Tensor('int64', BigInt64Array.from(all(BigInt(position))), [
          sequences,
          1,
        ]),
        [llamaNames.rows]: new Tensor('int32', Int32Array.from(all(position)), [sequences, 1, 1, 1]),
        [llamaNames.positions]: new Tensor('float32', Float32Array.from(all(position)), [sequences, 1, 1, 1]),
        [llamaNames.order]: new Tensor(
          'float32',
          Float32Array.from({ length: context }, (_, i) => i),
          [context],
        ),
      },
      { ...next, [llamaNames.logits]: null },
    );
    if (step >= 0) milliseconds.push(performance.now() - start);
  }
  const used = await usedGB();
  for (const tensor of Object.values(past)) tensor.dispose();
  await memory.close();
  await session.release();
  return { milliseconds, used };
}

async function gpuMemory() {
  const graph = new GraphBuilder('zeros');
  graph.node('Expand', [graph.input('x', 'float32', [1]), graph.input('size', 'int64', [1])], ['out']);
  graph.output('out', 'float32', ['N']);
  const session = await InferenceSession.create(graph.model(), {
    executionProviders: ['webgpu'],
    preferredOutputLocation: { out: 'gpu-buffer' },
  });
  return {
    async zeros(dims: readonly number[]): Promise<Tensor> {
      const { out } = await session.run({
        x: new Tensor('float32', Float32Array.of(0), [1]),
        size: new Tensor('int64', BigInt64Array.of(BigInt(dims.reduce((a, b) => a * b))), [1]),
      });
      if (!(out instanceof Tensor)) throw new Error('the GPU gave no memory');
      return Tensor.fromGpuBuffer(out.gpuBuffer, {
        dataType: 'float32',
        dims,
        dispose: () => out.dispose(),
      });
    },
    close: () => session.release(),
  };
}
