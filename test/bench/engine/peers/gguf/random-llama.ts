import { mkdir, open, rename, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { align, type GgufTensor, ggufHeader, type MetadataValue, tensorBytes } from './header.ts';

/** Sizes of a Llama. */
export interface LlamaSizes {
  readonly layers: number;
  readonly hidden: number;
  readonly intermediate: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly vocabulary: number;
  readonly context: number;
}

/** TinyLlama-1.1B's layers, as many as give about the weight bytes of Hymba-1.5B; the head shares the embedding, as there. */
export const comparableLlama: LlamaSizes = {
  layers: 32,
  hidden: 2048,
  intermediate: 5632,
  heads: 32,
  kvHeads: 4,
  vocabulary: 32_000,
  context: 8192,
};

const blockBytes = 18 * 65_536;

/** Writes a Llama of random Q4_0 weights unless the file is there. Gives the bytes of its weights. */
export async function ensureRandomLlama(file: string, sizes: LlamaSizes): Promise<number> {
  const tensors = llamaTensors(sizes);
  const header = ggufHeader(llamaMetadata(sizes), tensors);
  const weightBytes = tensors.reduce((sum, tensor) => sum + tensorBytes(tensor), 0);
  const total = tensors.reduce((sum, tensor) => sum + align(tensorBytes(tensor)), header.length);
  const present = await stat(file).catch(() => null);
  if (present?.size === total) return weightBytes;

  await mkdir(dirname(file), { recursive: true });
  const temporary = `${file}.partial`;
  {
    await using handle = await open(temporary, 'w');
    await handle.writeFile(header);
    const [quantised, ones] = [randomBlocks(), new Float32Array(blockBytes / 4).fill(1)];
    for (const tensor of tensors) {
      const source = tensor.type === 'F32' ? new Uint8Array(ones.buffer) : quantised;
      const end = tensorBytes(tensor);
      for (let at = 0; at < end; at += blockBytes) {
        await handle.writeFile(source.subarray(0, Math.min(blockBytes, end - at)));
      }
      await handle.writeFile(new Uint8Array(align(end) - end));
    }
  }
  await rename(temporary, file);
  return weightBytes;
}

function llamaTensors({
  layers,
  hidden,
  intermediate,
  heads,
  kvHeads,
  vocabulary,
}: LlamaSizes): GgufTensor[] {
  const kvWidth = (hidden / heads) * kvHeads;
  const matrix = (name: string, columns: number, rows: number): GgufTensor => ({
    name: `${name}.weight`,
    type: 'Q4_0',
    dims: [columns, rows],
  });
  const norm = (name: string): GgufTensor => ({ name: `${name}.weight`, type: 'F32', dims: [hidden] });
  const layer = (index: number): GgufTensor[] => {
    const of = (name: string) => `blk.${index}.${name}`;
    return [
      norm(of('attn_norm')),
      matrix(of('attn_q'), hidden, hidden),
      matrix(of('attn_k'), hidden, kvWidth),
      matrix(of('attn_v'), hidden, kvWidth),
      matrix(of('attn_output'), hidden, hidden),
      norm(of('ffn_norm')),
      matrix(of('ffn_gate'), hidden, intermediate),
      matrix(of('ffn_up'), hidden, intermediate),
      matrix(of('ffn_down'), intermediate, hidden),
    ];
  };
  return [
    matrix('token_embd', hidden, vocabulary),
    ...Array.from({ length: layers }, (_, index) => layer(index)).flat(),
    norm('output_norm'),
  ];
}

function llamaMetadata(sizes: LlamaSizes): Record<string, MetadataValue> {
  const uint32 = (value: number): MetadataValue => ({ type: 'uint32', value });
  const string = (value: string): MetadataValue => ({ type: 'string', value });
  const { vocabulary } = sizes;
  const pieces = Array.from({ length: vocabulary }, (_, id) => pieceOf(id));
  return {
    'general.architecture': string('llama'),
    'general.name': string('random llama'),
    'general.alignment': uint32(32),
    'general.file_type': uint32(2),
    'general.quantization_version': uint32(2),
    'llama.context_length': uint32(sizes.context),
    'llama.embedding_length': uint32(sizes.hidden),
    'llama.block_count': uint32(sizes.layers),
    'llama.feed_forward_length': uint32(sizes.intermediate),
    'llama.attention.head_count': uint32(sizes.heads),
    'llama.attention.head_count_kv': uint32(sizes.kvHeads),
    'llama.attention.layer_norm_rms_epsilon': { type: 'float32', value: 1e-6 },
    'llama.rope.dimension_count': uint32(sizes.hidden / sizes.heads),
    'llama.vocab_size': uint32(vocabulary),
    'tokenizer.ggml.model': string('llama'),
    'tokenizer.ggml.tokens': { type: 'strings', value: pieces.map(({ text }) => text) },
    'tokenizer.ggml.scores': { type: 'float32s', value: pieces.map((_, id) => -id) },
    'tokenizer.ggml.token_type': { type: 'int32s', value: pieces.map(({ type }) => type) },
    'tokenizer.ggml.bos_token_id': uint32(1),
    'tokenizer.ggml.eos_token_id': uint32(2),
    'tokenizer.ggml.unknown_token_id': uint32(0),
  };
}

/** A SentencePiece vocabulary: three special tokens, the bytes, and words that nothing is ever split into. */
function pieceOf(id: number): { readonly text: string; readonly type: number } {
  const [normal, unknown, control, byte] = [1, 2, 3, 6];
  if (id === 0) return { text: '<unk>', type: unknown };
  if (id <= 2) return { text: id === 1 ? '<s>' : '</s>', type: control };
  if (id < 259) return { text: `<0x${(id - 3).toString(16).toUpperCase().padStart(2, '0')}>`, type: byte };
  return { text: `▁t${id}`, type: normal };
}

/** Blocks of one float16 scale, 0.0043 (a deviation of 0.02 over values from -8 to 7), and random halves of bytes. */
function randomBlocks(): Uint8Array {
  const bytes = new Uint8Array(blockBytes);
  const scale = new Uint8Array(Float16Array.of(0.0043).buffer);
  let state = 1;
  for (let i = 0; i < bytes.length; i++) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    bytes[i] = state;
    if (i % 18 < 2) bytes[i] = scale[i % 18] ?? 0;
  }
  return bytes;
}
