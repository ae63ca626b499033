import { graphNames, type HymbaConfig } from '@baton/hymba';
import { type InferenceSession, Tensor } from 'onnxruntime-node';
import type { KvRows } from './state/kv-pool.ts';
import type { SlotArray } from './state/slot-array.ts';
import type { StatePool } from './state/state-pool.ts';

/** Which sequences a run is about, and the arrays that say what they are fed. */
export interface RunShape {
  /** The first slot, and how many from there on. */
  readonly first: number;
  readonly batch: number;
  /** New tokens of each sequence. */
  readonly tokens: number;
  /** [batch, tokens] */
  readonly ids: BigInt64Array;
  readonly positions: BigInt64Array;
  readonly logitRows: BigInt64Array;
  /** In the order of the pool's kinds, each [batch, tokens, capacity + tokens]. */
  readonly biases: readonly Float32Array[];
}

export interface GraphInputs {
  readonly feeds: InferenceSession.OnnxValueMapType;
  /** Where each output is written. */
  readonly fetches: Readonly<Record<string, Tensor>>;
  /** [logit rows, vocabulary], and for each cache the new tokens' rows: among `fetches`. */
  readonly logits: Float32Array;
  readonly rows: readonly KvRows[];
}

/**
 * The inputs and outputs of a run: views of the pool, nothing is copied, and memory for what else it gives, which a run of
 * the same shape writes to again. The recurrent states are written where they are
 * read, which is safe since an element is read for the last time before what is computed from it is written: decode step
 * and convolution go element by element, and the prefill's scan reads at its first token and writes at its last.
 */
export function graphInputs(config: HymbaConfig, pool: StatePool, run: RunShape): GraphInputs {
  const { vocabularySize, kvHeads, keySize, valueSize, convKernel, innerSize, stateSize } = config;
  const { first, batch, tokens } = run;
  const view = (array: SlotArray, dims: readonly number[]) =>
    new Tensor('float32', array.view(first, batch), [batch, ...dims]);
  const feeds: Record<string, Tensor> = {
    [graphNames.inputIds]: new Tensor('int64', run.ids, [batch, tokens]),
    [graphNames.positionIds]: new Tensor('int64', run.positions, [batch, tokens]),
    [graphNames.logitRows]: new Tensor('int64', run.logitRows, [run.logitRows.length]),
  };
  const output = (...dims: readonly number[]) =>
    new Tensor('float32', new Float32Array(dims.reduce((size, dim) => size * dim, 1)), dims);
  const logits = output(run.logitRows.length, vocabularySize);
  const fetches: Record<string, Tensor> = { [graphNames.logits]: logits };
  const rows: KvRows[] = [];
  for (const [index, kind] of pool.kinds.entries()) {
    const bias = run.biases[index] ?? new Float32Array();
    feeds[graphNames.bias(kind.kind)] = new Tensor('float32', bias, [
      batch,
      1,
      tokens,
      kind.capacity + tokens,
    ]);
    for (const [cache, { keys, values }] of kind.caches) {
      feeds[graphNames.keyCache(cache)] = view(keys, [kvHeads, kind.capacity, keySize]);
      feeds[graphNames.valueCache(cache)] = view(values, [kvHeads, valueSize, kind.capacity]);
      const newKeys = output(batch, kvHeads, tokens, keySize);
      const newValues = output(batch, kvHeads, tokens, valueSize);
      fetches[graphNames.newKeys(cache)] = newKeys;
      fetches[graphNames.newValues(cache)] = newValues;
      rows[cache] = { count: tokens, keys: floats(newKeys), values: floats(newValues) };
    }
  }
  for (const [layer, conv] of pool.conv.entries()) {
    const tensor = view(conv, [convKernel - 1, innerSize]);
    feeds[graphNames.conv(layer)] = tensor;
    fetches[graphNames.newConv(layer)] = tensor;
  }
  for (const [layer, ssm] of pool.ssm.entries()) {
    const tensor = view(ssm, [stateSize, innerSize]);
    feeds[graphNames.ssm(layer)] = tensor;
    fetches[graphNames.newSsm(layer)] = tensor;
  }
  return { feeds, fetches, logits: floats(logits), rows };
}

const floats = ({ data }: Tensor): Float32Array => data as Float32Array;
