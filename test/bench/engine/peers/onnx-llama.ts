import { mkdir, open, rename, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { float, GraphBuilder, int, type Value } from '@baton/hymba/onnx';
import type { LlamaSizes } from './gguf/random-llama.ts';

const dataFile = 'model_q4.onnx_data';
const blockSize = 32;
const normEpsilon = 1e-6;
/** ONNX's number for the element type int32. */
const int32 = 6;

/**
 * Writes a Llama of random weights as the ONNX exporters for @huggingface/transformers write one (`q4`: MatMulNBits with
 * blocks of 32, GroupQueryAttention, caches as inputs and outputs), unless it is there. Gives the weight bytes of a step.
 */
export async function ensureOnnxLlama(folder: string, sizes: LlamaSizes): Promise<number> {
  const { model, weights, bytes } = llamaGraph(sizes);
  const weightBytes = weights.reduce((sum, { bytes, streamed }) => (streamed ? sum + bytes : sum), 0);
  const onnx = join(folder, 'onnx');
  const present = await stat(join(onnx, dataFile)).catch(() => null);
  await mkdir(onnx, { recursive: true });
  await writeFile(join(onnx, 'model_q4.onnx'), model);
  await writeFile(join(folder, 'config.json'), JSON.stringify(configOf(sizes)));
  await writeFile(join(folder, 'generation_config.json'), '{}');
  if (present?.size === bytes) return weightBytes;

  const temporary = join(onnx, `${dataFile}.partial`);
  {
    await using handle = await open(temporary, 'w');
    for (const { fill, bytes: length, offset } of weights) {
      for (let at = 0; at < length; at += fill.length) {
        const block = fill.subarray(0, Math.min(fill.length, length - at));
        await handle.write(block, 0, block.length, offset + at);
      }
    }
  }
  await rename(temporary, join(onnx, dataFile));
  return weightBytes;
}

interface StoredWeight {
  readonly offset: number;
  readonly bytes: number;
  /** Repeated over the whole weight. */
  readonly fill: Uint8Array;
  /** Whether every step reads all of it. */
  readonly streamed: boolean;
}

function llamaGraph(sizes: LlamaSizes) {
  const { layers, hidden, intermediate, heads, kvHeads, vocabulary, context } = sizes;
  const headSize = hidden / heads;
  const graph = new GraphBuilder('llama');
  const weights: StoredWeight[] = [];
  let end = 0;
  const store = (
    name: string,
    type: 'float32' | 'uint8',
    dims: readonly number[],
    fill: Uint8Array,
    streamed = true,
  ): Value => {
    const offset = Math.ceil(end / 4096) * 4096;
    const bytes = dims.reduce((product, dim) => product * dim, type === 'float32' ? 4 : 1);
    end = offset + bytes;
    weights.push({ offset, bytes, fill, streamed });
    return graph.external({ name, type, dims, file: dataFile, offset, bytes });
  };
  const norm = (x: Value, name: string) =>
    graph.op('SimplifiedLayerNormalization', [x, store(name, 'float32', [hidden], fills.ones)], {
      axis: int(-1),
      epsilon: float(normEpsilon),
    });
  const linear = (x: Value, name: string, inputs: number, outputs: number) =>
    graph.op(
      'com.microsoft.MatMulNBits',
      [
        x,
        store(name, 'uint8', [outputs, inputs / blockSize, blockSize / 2], fills.noise),
        store(`${name}.scales`, 'float32', [outputs, inputs / blockSize], fills.scales),
      ],
      { K: int(inputs), N: int(outputs), bits: int(4), block_size: int(blockSize), accuracy_level: int(4) },
    );

  const ids = graph.input('input_ids', 'int64', ['batch_size', 'sequence_length']);
  const mask = graph.input('attention_mask', 'int64', ['batch_size', 'total_sequence_length']);
  const kept = graph.input('num_logits_to_keep', 'int64', []);
  const toInt32 = (x: Value) => graph.op('Cast', [x], { to: int(int32) });
  const lengths = graph.op('ReduceSum', [mask, graph.int64s([1])], { keepdims: int(0) });
  const lastPositions = toInt32(graph.op('Sub', [lengths, graph.int64s([1])]));
  const total = toInt32(graph.op('Squeeze', [graph.op('Shape', [mask], { start: int(1), end: int(2) })]));
  const rope = [`cos`, `sin`].map((name) =>
    store(name, 'float32', [context, headSize / 2], fills.scales, false),
  );

  let x = graph.op('Gather', [store('embedding', 'float32', [vocabulary, hidden], fills.scales, false), ids]);
  for (let layer = 0; layer < layers; layer++) {
    const of = (name: string) => `layers.${layer}.${name}`;
    const cache = (name: string, length: string) =>
      [name, 'float32', ['batch_size', kvHeads, length, headSize]] as const;
    const pasts = ['key', 'value'].map((name) =>
      graph.input(...cache(`past_key_values.${layer}.${name}`, 'past_sequence_length')),
    );
    const presents = ['key', 'value'].map((name) => `present.${layer}.${name}`);
    const normed = norm(x, of('input_norm'));
    const [q, k, v] = [
      linear(normed, of('q'), hidden, hidden),
      linear(normed, of('k'), hidden, kvHeads * headSize),
      linear(normed, of('v'), hidden, kvHeads * headSize),
    ];
    const attended = of('attended');
    graph.node(
      'com.microsoft.GroupQueryAttention',
      [q, k, v, ...pasts, lastPositions, total, ...rope],
      [attended, ...presents],
      { num_heads: int(heads), kv_num_heads: int(kvHeads), do_rotary: int(1) },
    );
    for (const present of presents) graph.output(...cache(present, 'total_sequence_length'));
    x = graph.op('Add', [x, linear(attended, of('o'), hidden, hidden)]);
    const inner = norm(x, of('mlp_norm'));
    const gate = graph.op('com.microsoft.QuickGelu', [linear(inner, of('gate'), hidden, intermediate)], {
      alpha: float(1),
    });
    const gated = graph.op('Mul', [gate, linear(inner, of('up'), hidden, intermediate)]);
    x = graph.op('Add', [x, linear(gated, of('down'), intermediate, hidden)]);
  }
  const starts = graph.op('Neg', [graph.op('Unsqueeze', [kept, graph.int64s([0])])]);
  const last = graph.op('Slice', [x, starts, graph.int64s([2 ** 31]), graph.int64s([1])]);
  const logits = linear(norm(last, 'final_norm'), 'head', hidden, vocabulary);
  graph.node('Identity', [logits], ['logits']);
  graph.output('logits', 'float32', ['batch_size', 'kept', vocabulary]);
  return { model: graph.model(), weights, bytes: end };
}

function configOf(sizes: LlamaSizes): Record<string, unknown> {
  return {
    architectures: ['LlamaForCausalLM'],
    model_type: 'llama',
    hidden_size: sizes.hidden,
    intermediate_size: sizes.intermediate,
    num_hidden_layers: sizes.layers,
    num_attention_heads: sizes.heads,
    num_key_value_heads: sizes.kvHeads,
    vocab_size: sizes.vocabulary,
    max_position_embeddings: sizes.context,
    rms_norm_eps: normEpsilon,
    'transformers.js_config': { use_external_data_format: { 'model_q4.onnx': 1 } },
  };
}

const blockElements = 1 << 20;
const bytesOf = (values: Float32Array): Uint8Array => new Uint8Array(values.buffer);

/** Values that keep activations finite: weights of a deviation of about 0.02. */
const fills = {
  ones: bytesOf(new Float32Array(4096).fill(1)),
  scales: bytesOf(new Float32Array(blockElements).fill(0.0043)),
  noise: Uint8Array.from({ length: blockElements }, (_, i) => (Math.imul(i, 0x9e3779b1) >>> 13) & 0xff),
} as const;
