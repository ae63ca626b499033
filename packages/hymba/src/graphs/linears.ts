import type { ConvertedModel } from '../converted-model.ts';
import { GraphBuilder, type Value } from '../onnx/index.ts';
import { WeightLayout } from '../weights/layout.ts';
import { type GraphContext, linear } from './context.ts';

/** Names of the inputs and of the output. */
export const linearsNames = { hidden: 'hidden', rows: 'logit_rows', logits: 'logits' } as const;

/**
 * The matrix products of a pass and nothing else, each fed with what the one before gave, cut to its width: what a
 * pass would cost if attention, scan, norms and caches were free. To be saved beside the model's weights file.
 *
 * Inputs: `hidden` float32 [B, T, H] and `logit_rows` int64 [R], rows of the flattened [B × T]; output: `logits` [R, V].
 * `weightBytes` is what one pass reads of the weights.
 */
export function linearsGraph({ config, weightForm, kvCache }: ConvertedModel): {
  readonly graph: Uint8Array;
  readonly weightBytes: number;
} {
  const graph = new GraphBuilder('linears');
  const context: GraphContext = {
    graph,
    mode: 'prefill',
    config,
    layout: new WeightLayout(config, weightForm),
    kvCache,
  };
  const { hiddenSize, innerSize, intermediateSize, dtRank } = config;
  let x = graph.input(linearsNames.hidden, 'float32', ['B', 'T', hiddenSize]);
  const rows = graph.input(linearsNames.rows, 'int64', ['R']);
  const first = (value: Value, width: number) =>
    graph.op('Slice', [value, graph.int64s([0]), graph.int64s([width]), graph.int64s([-1])]);
  for (let layer = 0; layer < config.layers; layer++) {
    const of = (value: Value, name: string) => linear(context, value, `layers.${layer}.${name}`);
    const inner = first(of(x, 'in_proj'), innerSize);
    const steps = of(first(of(inner, 'x_proj'), dtRank), 'dt_proj');
    const mixed = of(steps, 'out_proj');
    const up = of(mixed, config.activation === 'silu' ? 'gate_up_proj' : 'up_proj');
    x = of(first(up, intermediateSize), 'down_proj');
  }
  const flat = graph.op('Reshape', [x, graph.int64s([-1, hiddenSize])]);
  graph.node('Identity', [linear(context, graph.op('Gather', [flat, rows]), 'head')], [linearsNames.logits]);
  graph.output(linearsNames.logits, 'float32', ['R', config.vocabularySize]);
  const weightBytes = graph
    .graph()
    .initializer.flatMap(({ externalData }) => externalData)
    .reduce((sum, { key, value }) => (key === 'length' ? sum + Number(value) : sum), 0);
  return { graph: graph.model(), weightBytes };
}
