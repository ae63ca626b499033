import { graphNames, type HymbaConfig } from '@baton/hymba';
import { Tensor } from 'onnxruntime-node';
import type { Step } from '../batch/runner.ts';
import { attentionBias } from '../state/attention-bias.ts';
import type { GpuMemory } from './transfer.ts';

/** The inputs of a pass that are not state, for a sequence of `length` positions. */
export function stepInputs(
  config: HymbaConfig,
  cacheRows: GpuMemory['rows'],
  length: number,
  { ids, rows }: Step,
): Record<string, Tensor> {
  const tokens = ids.length;
  const int64 = (values: readonly number[], dims: readonly number[]) =>
    new Tensor('int64', BigInt64Array.from(values, BigInt), dims);
  const positions = ids.map((_, i) => length + i);
  const inputs: Record<string, Tensor> = {
    [graphNames.inputIds]: int64(ids, [1, tokens]),
    [graphNames.positionIds]: int64(positions, [1, tokens]),
    [graphNames.logitRows]: int64(rows, [rows.length]),
  };
  for (const kind of new Set(config.caches.map((cache) => cache.kind))) {
    const layout = cacheRows[kind];
    inputs[graphNames.bias(kind)] = new Tensor('float32', attentionBias(config, layout, { length, tokens }), [
      1,
      1,
      tokens,
      layout.capacity + tokens,
    ]);
    inputs[graphNames.cacheRows(kind)] = new Tensor('int64', layout.scatterIndices(length, tokens), [
      1,
      config.kvHeads,
      tokens,
      3,
    ]);
  }
  return inputs;
}
