import { graphNames, type HymbaConfig } from '@baton/hymba';
import { Tensor } from 'onnxruntime-node';
import type { RowsByKind } from './gpu-rows.ts';

/** One sequence of a pass; all have the same number of ids. */
export interface PassSequence {
  /** Positions before the new tokens. */
  readonly length: number;
  readonly ids: readonly number[];
  /** False for one that only lies between others and is to stay as it is. */
  readonly active: boolean;
}

/** An index that no sequence has: what is written there is not written. */
const nowhere = 2 ** 30;

/** The inputs of a pass that are not state; `logitRows` are rows of all sequences' tokens, one after another. */
export function stepInputs(
  config: HymbaConfig,
  rows: RowsByKind,
  sequences: readonly PassSequence[],
  logitRows: readonly number[],
): Record<string, Tensor> {
  const batch = sequences.length;
  const tokens = sequences[0]?.ids.length ?? 0;
  const positions = sequences.flatMap(({ length, ids }) => ids.map((_, i) => length + i));
  const int64 = (values: readonly number[], dims: readonly number[]) =>
    new Tensor('int64', BigInt64Array.from(values, BigInt), dims);
  const float32 = (values: readonly number[], dims: readonly number[]) =>
    new Tensor('float32', Float32Array.from(values), dims);
  const int32 = (values: readonly number[], dims: readonly number[]) =>
    new Tensor('int32', Int32Array.from(values), dims);
  const inputs: Record<string, Tensor> = {
    [graphNames.inputIds]: int64(
      sequences.flatMap(({ ids }) => [...ids]),
      [batch, tokens],
    ),
    [graphNames.positionIds]: int64(positions, [batch, tokens]),
    [graphNames.positions]: float32(positions, [batch, tokens]),
    [graphNames.logitRows]: int64(logitRows, [logitRows.length]),
    [graphNames.active]: float32(
      sequences.map(({ active }) => (active ? 1 : 0)),
      [batch, 1, 1],
    ),
    [graphNames.states]: int32(
      sequences.map(({ active }, index) => (active ? index : nowhere)),
      [batch, 1],
    ),
  };
  for (const kind of new Set(config.caches.map((cache) => cache.kind))) {
    const at = sequences.flatMap(({ length, ids, active }) =>
      ids.map((_, i) => (active ? rows[kind].rowOf(length + i) : nowhere)),
    );
    inputs[graphNames.cacheRows(kind)] = int32(at, [batch, tokens]);
  }
  return inputs;
}
