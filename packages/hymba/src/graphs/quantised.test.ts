import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { GraphBuilder, type Value } from '../onnx/index.ts';
import { dequantiseBlocks, dequantiseRows } from '../testing/dequantise.ts';
import type { Encoding } from '../weights/forms.ts';
import type { StoredTensor } from '../weights/layout.ts';
import { type Quantised, quantiseBlocks, quantiseRows, transpose } from '../weights/quantise.ts';
import { blocksGather, blocksLinear, rowsLinear } from './quantised.ts';

let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'baton-quantised-'));
});

afterEach(() => rm(folder, { recursive: true, force: true }));

/** Rows of very different sizes, of which one is all zeros. */
const inputOf = (rows: number, columns: number) =>
  Float32Array.from({ length: rows * columns }, (_, i) => {
    const row = Math.floor(i / columns);
    return row === 1 ? 0 : noise(i) * 10 ** (row - 2);
  });

const sizes = [
  { outputs: 24, inputs: 128 },
  { outputs: 17, inputs: 100 },
];

describe.each([
  { bits: 4, blockSize: 64 },
  { bits: 4, blockSize: 32 },
  { bits: 8, blockSize: 64 },
] as const)('$bits-bit blocks of $blockSize', ({ bits, blockSize }) => {
  const encoding = { kind: 'blocks', bits, blockSize } as const;

  it.each(sizes)('multiply as what they stand for, $inputs → $outputs', async ({ outputs, inputs }) => {
    const weights = weightsOf(outputs, inputs);
    const quantised = quantiseBlocks(weights, inputs, encoding);
    const stored = await store(outputs, inputs, encoding, quantised);
    const x = inputOf(5, inputs);
    const found = await run((graph, value) => blocksLinear(graph, value, stored, encoding), x, inputs);
    expectProduct(found, x, dequantiseBlocks(quantised, inputs, encoding), inputs, encoding.blockSize);
  });

  it.each(sizes)('are looked up by row, $inputs wide', async ({ outputs, inputs }) => {
    const quantised = quantiseBlocks(weightsOf(outputs, inputs), inputs, encoding);
    const stored = await store(outputs, inputs, encoding, quantised);
    const graph = new GraphBuilder('lookup');
    graph.input('ids', 'int64', [1, 'T']);
    graph.node('Identity', [blocksGather(graph, 'ids', stored, encoding)], ['found']);
    graph.output('found', 'float32', [1, 'T', inputs]);
    const ids = new Tensor('int64', BigInt64Array.of(3n, 0n, 16n), [1, 3]);
    const { found } = await runGraph(graph, { ids });
    const rows = dequantiseBlocks(quantised, inputs, encoding);
    expect(found?.dims).toEqual([1, 3, inputs]);
    expect(found?.data).toEqual(
      Float32Array.from([3, 0, 16].flatMap((row) => [...rows.subarray(row * inputs, (row + 1) * inputs)])),
    );
  });
});

describe('int8 rows', () => {
  const linear = async (outputs: number, inputs: number) => {
    const quantised = quantiseRows(weightsOf(outputs, inputs), inputs);
    const turned = { ...quantised, data: transpose(quantised.data, inputs) };
    const stored = await store(outputs, inputs, { kind: 'rows' }, turned);
    return {
      meaning: dequantiseRows(quantised, inputs),
      run: (x: Float32Array) => run((graph, value) => rowsLinear(graph, value, stored), x, inputs),
    };
  };

  it.each(sizes)('multiply as what they stand for, $inputs → $outputs', async ({ outputs, inputs }) => {
    const { meaning, run } = await linear(outputs, inputs);
    const x = inputOf(5, inputs);
    expectProduct(await run(x), x, meaning, inputs, inputs);
  });

  it('give a row the same result alone and among others, to the last bit', async () => {
    const { run } = await linear(24, 128);
    const x = inputOf(5, 128);
    const together = await run(x);
    for (let row = 0; row < 5; row++) {
      const alone = await run(x.slice(row * 128, (row + 1) * 128));
      expect(alone).toEqual(together.slice(row * 24, (row + 1) * 24));
    }
  });
});

/** Random in -1 … 1, the same for the same `i`. */
function noise(i: number): number {
  return 2 * ((Math.sin(i * 12.9898) * 43_758.5453) % 1) ** 2 * Math.sign(Math.sin(i * 78.233));
}

const weightsOf = (outputs: number, inputs: number) =>
  Float32Array.from({ length: outputs * inputs }, (_, i) => noise(i + 1e6));

/** Writes a quantised matrix to a file of its own. */
async function store(
  outputs: number,
  inputs: number,
  encoding: Encoding,
  { data, scales }: Quantised<Uint8Array | Int8Array>,
): Promise<StoredTensor> {
  await writeFile(join(folder, 'data.bin'), data);
  await writeFile(join(folder, 'scales.bin'), scales);
  const blocks = scales.length / outputs;
  const dataDims =
    encoding.kind === 'rows' ? [inputs, outputs] : [outputs, blocks, data.length / scales.length];
  return {
    name: 'w',
    dims: [outputs, inputs],
    source: { kind: 'rows', of: [] },
    encoding,
    data: {
      name: 'w',
      type: encoding.kind === 'rows' ? 'int8' : 'uint8',
      dims: dataDims,
      file: 'data.bin',
      offset: 0,
      bytes: data.length,
    },
    scales: {
      name: 'w.scales',
      type: 'float32',
      dims: encoding.kind === 'rows' ? [outputs] : [outputs, blocks],
      file: 'scales.bin',
      offset: 0,
      bytes: scales.byteLength,
    },
  };
}

async function run(linear: (graph: GraphBuilder, x: Value) => Value, x: Float32Array, inputs: number) {
  const graph = new GraphBuilder('linear');
  graph.input('x', 'float32', ['B', 1, inputs]);
  graph.node('Identity', [linear(graph, 'x')], ['y']);
  graph.output('y', 'float32', ['B', 1, 'N']);
  const { y } = await runGraph(graph, { x: new Tensor('float32', x, [x.length / inputs, 1, inputs]) });
  return Float32Array.from(y?.data as Float32Array);
}

async function runGraph(graph: GraphBuilder, feeds: Record<string, Tensor>) {
  const file = join(folder, 'graph.onnx');
  await writeFile(file, graph.model());
  const session = await InferenceSession.create(file, { intraOpNumThreads: 1 });
  const outputs = await session.run(feeds);
  await session.release();
  return outputs;
}

/** Inputs are rounded to 127 levels a side within each block of them, and that is all that may differ. */
function expectProduct(
  found: Float32Array,
  x: Float32Array,
  weights: Float32Array,
  inputs: number,
  blockSize: number,
): void {
  const outputs = weights.length / inputs;
  expect(found).toHaveLength((x.length / inputs) * outputs);
  for (const [at, value] of found.entries()) {
    const row = x.subarray(Math.floor(at / outputs) * inputs).subarray(0, inputs);
    const column = weights.subarray((at % outputs) * inputs).subarray(0, inputs);
    let product = 0;
    let rounding = 0;
    for (let from = 0; from < inputs; from += blockSize) {
      const block = row.subarray(from, Math.min(inputs, from + blockSize));
      const largest = Math.max(...block.map(Math.abs));
      for (const [i, element] of block.entries()) {
        const weight = column[from + i] ?? 0;
        product += element * weight;
        rounding += (Math.abs(weight) * largest) / 127 / 2;
      }
    }
    expect(Math.abs(value - product)).toBeLessThanOrEqual(rounding * 1.01 + 1e-12);
  }
}
