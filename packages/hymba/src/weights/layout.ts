import type { HymbaConfig } from '../config.ts';
import type { ExternalTensor } from '../onnx/index.ts';

/** How linear layers are stored. */
export type WeightForm = 'float32';
export const weightForms = ['float32'] as const satisfies readonly WeightForm[];

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

export interface StoredTensor extends ExternalTensor {
  readonly source: WeightSource;
}

export const weightsFile = 'weights.bin';

/** What runtimes need to map a tensor's bytes into memory instead of copying them. */
const alignment = 4096;

/** Every tensor of the weights file, in file order, and how to find one by its name. */
export class WeightLayout {
  readonly tensors: readonly StoredTensor[];
  /** Length of the whole file. */
  readonly bytes: number;
  readonly #byName: ReadonlyMap<string, ExternalTensor>;

  constructor(config: HymbaConfig) {
    const planned = plan(config);
    const tensors: StoredTensor[] = [];
    let end = 0;
    for (const { name, dims, source } of planned) {
      const offset = Math.ceil(end / alignment) * alignment;
      const bytes = dims.reduce((product, dim) => product * dim, Float32Array.BYTES_PER_ELEMENT);
      tensors.push({ name, type: 'float32', dims, file: weightsFile, offset, bytes, source });
      end = offset + bytes;
    }
    this.tensors = tensors;
    this.bytes = end;
    const byName = new Map<string, ExternalTensor>(tensors.map((tensor) => [tensor.name, tensor]));
    const embedding = byName.get('embedding');
    if (config.tiedHead && embedding) byName.set('head', headWithin(embedding, config));
    this.#byName = byName;
  }

  get(name: string): ExternalTensor {
    const tensor = this.#byName.get(name);
    if (!tensor) throw new RangeError(`no weight is called ${name}`);
    return tensor;
  }
}

/** A tied head is the embedding without the meta tokens' rows: the same bytes under a second name. */
function headWithin(embedding: ExternalTensor, config: HymbaConfig): ExternalTensor {
  const { vocabularySize, hiddenSize } = config;
  const bytes = vocabularySize * hiddenSize * Float32Array.BYTES_PER_ELEMENT;
  return { ...embedding, name: 'head', dims: [vocabularySize, hiddenSize], bytes };
}

interface Planned {
  readonly name: string;
  readonly dims: readonly number[];
  readonly source: WeightSource;
}

function rows(name: string, ...of: CheckpointTensor[]): Planned {
  const [first] = of;
  const count = of.reduce((sum, tensor) => sum + (tensor.shape[0] ?? 0), 0);
  return { name, dims: [count, ...(first?.shape.slice(1) ?? [])], source: { kind: 'rows', of } };
}

function plan(config: HymbaConfig): Planned[] {
  const { vocabularySize: vocabulary, hiddenSize: hidden, metaTokens } = config;
  const rope = (of: 'cos' | 'sin'): Planned => ({
    name: `rope.${of}`,
    dims: [metaTokens + config.contextLength, config.keySize / 2],
    source: { kind: 'rope', function: of },
  });
  const meta = { name: 'model.memory_tokens', shape: [metaTokens, hidden] };
  return [
    rows(
      'embedding',
      { name: 'model.embed_tokens.weight', shape: [vocabulary, hidden] },
      ...(metaTokens > 0 ? [meta] : []),
    ),
    rope('cos'),
    rope('sin'),
    ...Array.from({ length: config.layers }, (_, layer) => planLayer(config, layer)).flat(),
    rows('final_norm', { name: 'model.final_layernorm.weight', shape: [hidden] }),
    ...(config.tiedHead ? [] : [rows('head', { name: 'lm_head.weight', shape: [vocabulary, hidden] })]),
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
    rows(to('in_proj'), from('mamba.in_proj.weight', hiddenSize + keyValueRows + 2 * innerSize, hiddenSize)),
    rows(to('conv'), from('mamba.conv1d.weight', innerSize, 1, config.convKernel)),
    rows(to('conv_bias'), from('mamba.conv1d.bias', innerSize)),
    rows(to('x_proj'), from('mamba.x_proj.0.weight', dtRank + 2 * stateSize, innerSize)),
    rows(to('dt_norm'), from('mamba.dt_layernorm.weight', dtRank)),
    rows(to('b_norm'), from('mamba.B_layernorm.weight', stateSize)),
    rows(to('c_norm'), from('mamba.C_layernorm.weight', stateSize)),
    rows(to('dt_proj'), from('mamba.dt_proj.0.weight', innerSize, dtRank)),
    rows(to('dt_bias'), from('mamba.dt_proj.0.bias', innerSize)),
    {
      name: to('decay'),
      dims: [stateSize, innerSize],
      source: { kind: 'decay', of: from('mamba.A_log.0', innerSize, stateSize) },
    },
    rows(to('skip'), from('mamba.D.0', innerSize)),
    rows(to('attention_norm'), from('mamba.pre_avg_layernorm1.weight', innerSize)),
    rows(to('mamba_norm'), from('mamba.pre_avg_layernorm2.weight', innerSize)),
    rows(to('out_proj'), from('mamba.out_proj.weight', hiddenSize, innerSize)),
    rows(to('mlp_norm'), from('pre_moe_layernorm.weight', hiddenSize)),
    config.activation === 'silu'
      ? rows(to('gate_up_proj'), mlp('gate', intermediateSize, hiddenSize), up)
      : rows(to('up_proj'), up),
    rows(to('down_proj'), mlp('down', hiddenSize, intermediateSize)),
  ];
}
