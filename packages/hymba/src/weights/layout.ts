import type { HymbaConfig } from '../config.ts';
import type { ElementType, ExternalTensor } from '../onnx/index.ts';
import { type Encoding, encodingOf, type WeightForm, type WeightRole } from './forms.ts';

/** A tensor of the checkpoint and the shape that the configuration gives it. */
export interface CheckpointTensor {
  readonly name: string;
  readonly shape: readonly number[];
}

/** Where the elements of a stored tensor come from. */
export type WeightSource =
  /** The rows of these tensors, one after another, as they are. */
  | { readonly kind: 'rows'; readonly of: readonly CheckpointTensor[] }
  /** `-exp(A_log)`, transposed to the scan's [state, channel]. */
  | { readonly kind: 'decay'; readonly of: CheckpointTensor }
  | { readonly kind: 'rope'; readonly function: 'cos' | 'sin' };

/** One weight: where its elements come from and how they are stored. */
export interface StoredTensor {
  readonly name: string;
  /** As the arithmetic sees it, however it is stored. */
  readonly dims: readonly number[];
  readonly source: WeightSource;
  readonly encoding: Encoding;
  /** What the file holds of it, in order: the elements and, where they are quantised, their scales. */
  readonly data: ExternalTensor;
  readonly scales?: ExternalTensor;
}

export const weightsFile = 'weights.bin';

/** What runtimes need to map a tensor's bytes into memory instead of copying them. */
const alignment = 4096;

/** Every tensor of the weights file, in file order, and how to find one by its name. */
export class WeightLayout {
  readonly form: WeightForm;
  readonly tensors: readonly StoredTensor[];
  /** Length of the whole file. */
  readonly bytes: number;
  readonly #byName: ReadonlyMap<string, StoredTensor>;

  constructor(config: HymbaConfig, form: WeightForm = 'fp32') {
    this.form = form;
    let end = 0;
    const place = (name: string, type: ElementType, dims: readonly number[]): ExternalTensor => {
      const offset = Math.ceil(end / alignment) * alignment;
      const bytes = product(dims) * (type === 'float32' ? Float32Array.BYTES_PER_ELEMENT : 1);
      end = offset + bytes;
      return { name, type, dims, file: weightsFile, offset, bytes };
    };
    this.tensors = plan(config).map(({ name, dims, source, role }) => {
      const encoding = encodingOf(form, role);
      const { data, scales } = shapesOf(encoding, dims);
      return {
        name,
        dims,
        source,
        encoding,
        data: place(name, data.type, data.dims),
        ...(scales && { scales: place(`${name}.scales`, 'float32', scales) }),
      };
    });
    this.bytes = end;
    const byName = new Map(this.tensors.map((tensor) => [tensor.name, tensor]));
    const embedding = byName.get('embedding');
    if (config.tiedHead && embedding) byName.set('head', headWithin(embedding, config));
    this.#byName = byName;
  }

  /** The weight called `name`. */
  find(name: string): StoredTensor {
    const tensor = this.#byName.get(name);
    if (!tensor) throw new RangeError(`no weight is called ${name}`);
    return tensor;
  }

  /** The elements of a weight that is stored as float32 in every form. */
  get(name: string): ExternalTensor {
    return this.find(name).data;
  }
}

/** What is stored of a tensor [outputs, inputs] (or any other shape, as float32). */
function shapesOf(
  encoding: Encoding,
  dims: readonly number[],
): {
  readonly data: { readonly type: ElementType; readonly dims: readonly number[] };
  readonly scales?: readonly number[];
} {
  const [outputs = 0, inputs = 0] = dims;
  switch (encoding.kind) {
    case 'float32':
      return { data: { type: 'float32', dims } };
    case 'blocks': {
      const { bits, blockSize } = encoding;
      const blocks = Math.ceil(inputs / blockSize);
      return {
        data: { type: 'uint8', dims: [outputs, blocks, (blockSize * bits) / 8] },
        scales: [outputs, blocks],
      };
    }
    case 'rows':
      return { data: { type: 'int8', dims: [inputs, outputs] }, scales: [outputs] };
  }
}

/** A tied head is the embedding without the meta tokens' rows: the same bytes under a second name. */
function headWithin(embedding: StoredTensor, config: HymbaConfig): StoredTensor {
  const rowsOf = (tensor: ExternalTensor, name: string): ExternalTensor => {
    const [rows = 1, ...row] = tensor.dims;
    const bytes = (tensor.bytes / rows) * config.vocabularySize;
    return { ...tensor, name, dims: [config.vocabularySize, ...row], bytes };
  };
  const { data, scales, dims } = embedding;
  return {
    ...embedding,
    name: 'head',
    dims: [config.vocabularySize, ...dims.slice(1)],
    data: rowsOf(data, 'head'),
    ...(scales && { scales: rowsOf(scales, 'head.scales') }),
  };
}

const product = (dims: readonly number[]): number => dims.reduce((size, dim) => size * dim, 1);

interface Planned {
  readonly name: string;
  readonly dims: readonly number[];
  readonly source: WeightSource;
  readonly role: WeightRole;
}

/** A matrix, stored as the weight form says. */
function matrix(role: WeightRole, name: string, ...of: CheckpointTensor[]): Planned {
  return { ...rows(name, ...of), role };
}

function rows(name: string, ...of: CheckpointTensor[]): Planned {
  const [first] = of;
  const count = of.reduce((sum, tensor) => sum + (tensor.shape[0] ?? 0), 0);
  return {
    name,
    dims: [count, ...(first?.shape.slice(1) ?? [])],
    source: { kind: 'rows', of },
    role: 'vector',
  };
}

function plan(config: HymbaConfig): Planned[] {
  const { vocabularySize: vocabulary, hiddenSize: hidden, metaTokens } = config;
  const rope = (of: 'cos' | 'sin'): Planned => ({
    name: `rope.${of}`,
    dims: [metaTokens + config.contextLength, config.keySize / 2],
    source: { kind: 'rope', function: of },
    role: 'vector',
  });
  const meta = { name: 'model.memory_tokens', shape: [metaTokens, hidden] };
  return [
    matrix(
      'embedding',
      'embedding',
      { name: 'model.embed_tokens.weight', shape: [vocabulary, hidden] },
      ...(metaTokens > 0 ? [meta] : []),
    ),
    rope('cos'),
    rope('sin'),
    ...Array.from({ length: config.layers }, (_, layer) => planLayer(config, layer)).flat(),
    rows('final_norm', { name: 'model.final_layernorm.weight', shape: [hidden] }),
    ...(config.tiedHead
      ? []
      : [matrix('embedding', 'head', { name: 'lm_head.weight', shape: [vocabulary, hidden] })]),
  ];
}

function planLayer(config: HymbaConfig, layer: number): Planned[] {
  const { hiddenSize, innerSize, stateSize, dtRank, intermediateSize } = config;
  const ownsCache = config.caches.some(({ layers }) => layers[0] === layer);
  const keyValueRows = ownsCache ? config.kvHeads * (config.keySize + config.valueSize) : 0;
  const to = (name: string) => `layers.${layer}.${name}`;
  const from = (name: string, ...shape: number[]): CheckpointTensor => ({
    name: `model.layers.${layer}.${name}`,
    shape,
  });
  const mlp = (name: string, ...shape: number[]) => from(`moe.experts.0.${name}_proj.weight`, ...shape);
  const up = mlp('up', intermediateSize, hiddenSize);
  return [
    rows(to('input_norm'), from('input_layernorm.weight', hiddenSize)),
    matrix(
      'large',
      to('in_proj'),
      from('mamba.in_proj.weight', hiddenSize + keyValueRows + 2 * innerSize, hiddenSize),
    ),
    rows(to('conv'), from('mamba.conv1d.weight', innerSize, 1, config.convKernel)),
    rows(to('conv_bias'), from('mamba.conv1d.bias', innerSize)),
    matrix('minor', to('x_proj'), from('mamba.x_proj.0.weight', dtRank + 2 * stateSize, innerSize)),
    rows(to('dt_norm'), from('mamba.dt_layernorm.weight', dtRank)),
    rows(to('b_norm'), from('mamba.B_layernorm.weight', stateSize)),
    rows(to('c_norm'), from('mamba.C_layernorm.weight', stateSize)),
    matrix('minor', to('dt_proj'), from('mamba.dt_proj.0.weight', innerSize, dtRank)),
    rows(to('dt_bias'), from('mamba.dt_proj.0.bias', innerSize)),
    {
      name: to('decay'),
      dims: [stateSize, innerSize],
      source: { kind: 'decay', of: from('mamba.A_log.0', innerSize, stateSize) },
      role: 'vector',
    },
    rows(to('skip'), from('mamba.D.0', innerSize)),
    rows(to('attention_norm'), from('mamba.pre_avg_layernorm1.weight', innerSize)),
    rows(to('mamba_norm'), from('mamba.pre_avg_layernorm2.weight', innerSize)),
    matrix('large', to('out_proj'), from('mamba.out_proj.weight', hiddenSize, innerSize)),
    rows(to('mlp_norm'), from('pre_moe_layernorm.weight', hiddenSize)),
    config.activation === 'silu'
      ? matrix('large', to('gate_up_proj'), mlp('gate', intermediateSize, hiddenSize), up)
      : matrix('large', to('up_proj'), up),
    matrix('large', to('down_proj'), mlp('down', hiddenSize, intermediateSize)),
  ];
}
