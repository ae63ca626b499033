/**
 * How a model's large matrices are stored, and so what its speed, size and quality are. int4 has a scale for each 64 weights,
 * int4-32 one for each 32, which is a tenth larger and nearer to the checkpoint.
 */
export const weightForms = ['fp32', 'int8', 'int4', 'int4-32'] as const;
export type WeightForm = (typeof weightForms)[number];

/** How one matrix [outputs, inputs] is stored. */
export type Encoding =
  | { readonly kind: 'float32' }
  /** Whole numbers of `bits` with a scale for each block of successive inputs, as MatMulNBits reads them. */
  | { readonly kind: 'blocks'; readonly bits: 4 | 8; readonly blockSize: number }
  /** int8 with a scale for each output, transposed to [inputs, outputs] as MatMulInteger reads them. */
  | { readonly kind: 'rows' };

/**
 * What a tensor is to the encodings: the `large` matrices hold nearly all weights, the `minor` ones decide the scan's
 * time steps, and a `vector` is anything that no matrix product reads.
 */
export type WeightRole = 'large' | 'minor' | 'embedding' | 'vector';

const float32: Encoding = { kind: 'float32' };
const blocks = (bits: 4 | 8, blockSize = 64): Encoding => ({ kind: 'blocks', bits, blockSize });

const encodings: Readonly<Record<WeightForm, Readonly<Record<WeightRole, Encoding>>>> = {
  fp32: { large: float32, minor: float32, embedding: float32, vector: float32 },
  int8: { large: { kind: 'rows' }, minor: blocks(8), embedding: blocks(8), vector: float32 },
  int4: { large: blocks(4), minor: blocks(8), embedding: blocks(8), vector: float32 },
  'int4-32': { large: blocks(4, 32), minor: blocks(8), embedding: blocks(8), vector: float32 },
};

export function encodingOf(form: WeightForm, role: WeightRole): Encoding {
  return encodings[form][role];
}
