import { graphNames, type HymbaConfig } from '@baton/hymba';
import { type InferenceSession, Tensor } from 'onnxruntime-node';
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
  /** Null where the binding is to make the output; else it writes to this. */
  readonly fetches: Readonly<Record<string, Tensor | null>>;
}

/**
 * The inputs and outputs of a run: views of the pool, nothing is copied. The recurrent states are written where they are
 * read, which is safe since an element is read for the last time before what is computed from it is written: decode step
 * and convolution go element by element, and the prefill's scan reads at its first token and writes at its last.
 */
export function graphInputs(config: HymbaConfig, pool: StatePool, run: RunShape): GraphInputs {
  const { kvHeads, keySize, valueSize, convKernel, innerSize, stateSize } = config;
  const { first, batch, tokens } = run;
  const view = (array: SlotArray, dims: readonly number[]) =>
    new Tensor('float32', array.view(first, batch), [batch, ...dims]);
  const feeds: Record<string, Tensor> = {
    [graphNames.inputIds]: new Tensor('int64', run.ids, [batch, tokens]),
    [graphNames.positionIds]: new Tensor('int64', run.positions, [batch, tokens]),
    [graphNames.logitRows]: new Tensor('int64', run.logitRows, [run.logitRows.length]),
  };
  const fetches: Record<string, Tensor | null> = { [graphNames.logits]: null };
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
      fetches[graphNames.newKeys(cache)] = null;
      fetches[graphNames.newValues(cache)] = null;
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
  return { feeds, fetches };
}
