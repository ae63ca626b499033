import { open } from 'node:fs/promises';
import { graphNames, maskedBias } from '@baton/hymba';
import { float, GraphBuilder, int, type Value } from '@baton/hymba/onnx';

/** A transformer of Llama-3.2-3B's sizes. */
export const llama3b = {
  layers: 28,
  hidden: 3072,
  heads: 24,
  kvHeads: 8,
  headSize: 128,
  intermediate: 8192,
  vocabulary: 128_256,
} as const;

export const llamaNames = {
  input: 'input_ids',
  positionIds: 'position_ids',
  rows: 'rows',
  positions: 'positions',
  /** 0, 1, 2 … of the caches' rows. */
  order: 'order',
  logits: 'logits',
  keys: (layer: number) => graphNames.keyCache(layer),
  values: (layer: number) => graphNames.valueCache(layer),
  nextKeys: (layer: number) => graphNames.nextKeyCache(layer),
  nextValues: (layer: number) => graphNames.nextValueCache(layer),
} as const;

interface Stored {
  readonly offset: number;
  readonly bytes: number;
  readonly fill: Uint8Array;
}

/**
 * Writes weights of one random block over and over to `file`, and gives the model that reads them: a decode step built of
 * the operators that Hymba's graph for WebGPU has, 4-bit matrices in blocks of 64, caches written where they lie. Keys lie
 * [B, Hkv, Dk, P] and values [B, Hkv, P, Dv].
 */
export async function writeLlama(file: string, dataName: string, rows: number): Promise<Uint8Array> {
  const { layers, hidden, heads, kvHeads, headSize, intermediate, vocabulary } = llama3b;
  const group = heads / kvHeads;
  const graph = new GraphBuilder('llama');
  const stored: Stored[] = [];
  let end = 0;
  const store = (
    name: string,
    type: 'float32' | 'uint8',
    dims: readonly number[],
    fill: Uint8Array,
  ): Value => {
    const offset = Math.ceil(end / 4096) * 4096;
    const bytes = dims.reduce((product, dim) => product * dim, type === 'float32' ? 4 : 1);
    end = offset + bytes;
    stored.push({ offset, bytes, fill });
    return graph.external({ name, type, dims, file: dataName, offset, bytes });
  };
  const linear = (x: Value, name: string, inputs: number, outputs: number, bits = 4) =>
    graph.op(
      'com.microsoft.MatMulNBits',
      [
        x,
        store(name, 'uint8', [outputs, inputs / 64, 8 * bits], fills.noise),
        store(`${name}.scales`, 'float32', [outputs, inputs / 64], fills.small),
      ],
      { K: int(inputs), N: int(outputs), bits: int(bits), block_size: int(64), accuracy_level: int(4) },
    );
  const gain = (name: string) => store(name, 'float32', [hidden], fills.ones);
  const epsilon = float(1e-5);

  const ids = graph.input(llamaNames.input, 'int64', ['B', 1]);
  graph.input(llamaNames.positionIds, 'int64', ['B', 1]);
  const rowOf = graph.input(llamaNames.rows, 'int32', ['B', 1, 1, 1]);
  const positions = graph.input(llamaNames.positions, 'float32', ['B', 1, 1, 1]);
  const order = graph.input(llamaNames.order, 'float32', ['P']);
  const bias = graph.op('Mul', [
    graph.op('Relu', [graph.op('Sub', [order, positions])]),
    graph.float32(maskedBias),
  ]);
  const keyRows = graph.op('Expand', [rowOf, graph.int64s([1, kvHeads, headSize, 1])]);
  const valueRows = graph.op('Expand', [rowOf, graph.int64s([1, kvHeads, 1, headSize])]);
  const tables = ['cos', 'sin'].map((name) => store(name, 'float32', [rows, headSize / 2], fills.small));
  const scaled = tables.map((table) => graph.op('Mul', [table, graph.float32(1 / Math.sqrt(headSize))]));
  const rotate = (x: Value, count: number, by: readonly Value[]) =>
    graph.op('com.microsoft.RotaryEmbedding', [x, llamaNames.positionIds, ...by], { num_heads: int(count) });

  let sum = graph.op('Gather', [store('embedding', 'float32', [vocabulary, hidden], fills.small), ids]);
  let normed = graph.op('SimplifiedLayerNormalization', [sum, gain('norm.0')], { axis: int(-1), epsilon });
  const addAndNorm = (update: Value, name: string) => {
    const outputs = [`${name}.normed`, '', '', `${name}.sum`];
    graph.node('com.microsoft.SkipSimplifiedLayerNormalization', [sum, update, gain(name)], outputs, {
      epsilon,
    });
    [normed, sum] = [`${name}.normed`, `${name}.sum`];
  };
  for (let layer = 0; layer < layers; layer++) {
    const of = (name: string) => `layers.${layer}.${name}`;
    const width = kvHeads * headSize;
    const parts = graph.split(linear(normed, of('qkv'), hidden, hidden + 2 * width), [hidden, width, width]);
    const [queries = '', keys = '', values = ''] = parts;
    const cache = (
      past: string,
      dims: (number | string)[],
      indices: Value,
      updates: Value,
      next: string,
      axis: number,
    ) => {
      graph.input(past, 'float32', ['B', kvHeads, ...dims]);
      graph.node('ScatterElements', [past, indices, updates], [next], { axis: int(axis) });
      graph.output(next, 'float32', ['B', kvHeads, ...dims]);
    };
    const newKeys = graph.op('Reshape', [
      rotate(keys, kvHeads, tables),
      graph.int64s([0, kvHeads, headSize, 1]),
    ]);
    const newValues = graph.op('Reshape', [values, graph.int64s([0, kvHeads, 1, headSize])]);
    cache(llamaNames.keys(layer), [headSize, 'P'], keyRows, newKeys, llamaNames.nextKeys(layer), 3);
    cache(llamaNames.values(layer), ['P', headSize], valueRows, newValues, llamaNames.nextValues(layer), 2);
    const folded = graph.op('Reshape', [
      rotate(queries, heads, scaled),
      graph.int64s([0, kvHeads, group, headSize]),
    ]);
    const scores = graph.op('Add', [graph.op('MatMul', [folded, llamaNames.nextKeys(layer)]), bias]);
    const probabilities = graph.op('Softmax', [scores], { axis: int(-1) });
    const read = graph.op('MatMul', [probabilities, llamaNames.nextValues(layer)]);
    const attended = graph.op('Reshape', [read, graph.int64s([0, 1, hidden])]);
    addAndNorm(linear(attended, of('o'), hidden, hidden), of('mlp_norm'));
    const [gate = '', up = ''] = graph.split(linear(normed, of('gate_up'), hidden, 2 * intermediate), [
      intermediate,
      intermediate,
    ]);
    const silu = graph.op('com.microsoft.QuickGelu', [gate], { alpha: float(1) });
    addAndNorm(linear(graph.op('Mul', [silu, up]), of('down'), intermediate, hidden), `norm.${layer + 1}`);
  }
  graph.node('Identity', [linear(normed, 'head', hidden, vocabulary, 8)], [llamaNames.logits]);
  graph.output(llamaNames.logits, 'float32', ['B', 1, vocabulary]);

  await using handle = await open(file, 'w');
  for (const { fill, bytes, offset } of stored) {
    for (let at = 0; at < bytes; at += fill.length) {
      await handle.write(fill, 0, Math.min(fill.length, bytes - at), offset + at);
    }
  }
  return graph.model();
}

const blockElements = 1 << 22;
const bytesOf = (values: Float32Array): Uint8Array => new Uint8Array(values.buffer);

/** Values that keep activations finite. */
const fills = {
  ones: bytesOf(new Float32Array(4096).fill(1)),
  small: bytesOf(new Float32Array(blockElements).fill(0.004)),
  noise: Uint8Array.from({ length: blockElements }, (_, i) => (Math.imul(i, 0x9e3779b1) >>> 13) & 0xff),
} as const;
