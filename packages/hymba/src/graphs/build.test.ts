import { goldenCheckpoint, goldenNames } from '@baton/testing';
import { fromBinary } from '@bufbuild/protobuf';
import { describe, expect, it } from 'vitest';
import { readConfig } from '../config.ts';
import { type GraphProto, ModelProtoSchema, type ValueInfoProto } from '../generated/onnx_pb.ts';
import { defaultKvCache } from '../kv-cache-form.ts';
import { type WeightForm, weightForms } from '../weights/forms.ts';
import { WeightLayout } from '../weights/layout.ts';
import { buildGraph } from './build.ts';
import type { GraphName } from './contract.ts';
import { webGpuStates } from './webgpu/states.ts';

const cases = goldenNames.flatMap((name) =>
  (['prefill', 'decode', 'webgpuPrefill', 'webgpuDecode'] as const).map((mode) => ({ name, mode })),
);

describe.each(cases)('the $mode graph of $name', ({ name, mode }) => {
  it('defines every value once and before its use', async () => {
    checkValues(await graphOf(name, mode), new Set());
  });

  it.each(weightForms)('finds its %s weights where the layout puts them', async (form) => {
    const layout = new WeightLayout(await readConfig(goldenCheckpoint(name)), form);
    const stored = layout.tensors.flatMap(({ data, scales }) => (scales ? [data, scales] : [data]));
    const ends = new Map(stored.map(({ offset, bytes }) => [offset, offset + bytes]));
    const external = (await graphOf(name, mode, form)).initializer.filter(
      (tensor) => tensor.externalData.length > 0,
    );
    const places = external.map(({ externalData }) => {
      const { location, offset, length } = Object.fromEntries(
        externalData.map(({ key, value }) => [key, value]),
      );
      expect(location).toBe('weights.bin');
      // A tied head ends before the embedding's rows of the meta tokens.
      expect(Number(offset) + Number(length)).toBeLessThanOrEqual(ends.get(Number(offset)) ?? 0);
      return Number(offset);
    });
    expect(new Set(places)).toEqual(new Set(ends.keys()));
  });
});

describe('the interface', () => {
  it('of a decode step is open in the batch and takes one token of each sequence', async () => {
    const { input, output } = await graphOf('shared-pairs', 'decode');
    const shapes = Object.fromEntries([...input, ...output].map((value) => [value.name, shapeOf(value)]));
    expect(shapes).toMatchObject({
      input_ids: ['B', 1],
      position_ids: ['B', 1],
      logit_rows: ['R'],
      bias_global: ['B', 1, 1, 'S_global'],
      bias_sliding: ['B', 1, 1, 'S_sliding'],
      k_cache_4: ['B', 1, 'P_global', 16],
      v_cache_1: ['B', 1, 32, 'P_sliding'],
      conv_6: ['B', 3, 160],
      ssm_6: ['B', 16, 160],
      logits: ['R', 264],
      k_new_4: ['B', 1, 1, 16],
      v_new_1: ['B', 1, 1, 32],
      conv_new_6: ['B', 3, 160],
      ssm_new_6: ['B', 16, 160],
    });
    expect(shapes).not.toHaveProperty('k_cache_5');
  });

  it('of a prefill takes one sequence', async () => {
    const { input } = await graphOf('shared-pairs', 'prefill');
    expect(input.map(shapeOf).every(([first]) => first !== 'B')).toBe(true);
  });
});

describe.each(['webgpuPrefill', 'webgpuDecode'] as const)('%s', (mode) => {
  it('has none of the operators that WebGPU lacks', async () => {
    const { node } = await graphOf('shared-pairs', mode);
    const operators = new Set(node.map(({ opType }) => opType));
    for (const missing of ['FusedMatMul', 'MatMulInteger', 'Scan']) expect(operators).not.toContain(missing);
  });

  it.each(['int4', 'int4-32'] as const)(
    'works at widths that 4-bit products are fast for, %s',
    async (form) => {
      const { node } = await graphOf('shared-pairs', mode, form);
      const products = node.filter(({ opType }) => opType === 'MatMulNBits');
      const size = (at: number, name: string) =>
        Number(products[at]?.attribute.find((attribute) => attribute.name === name)?.i);
      const sizes = products.map((_, at) => ({ inputs: size(at, 'K'), outputs: size(at, 'N') }));
      expect(sizes.length).toBeGreaterThan(0);
      // Of the small ones that decide the time steps, only outputs are widened.
      expect(sizes.filter(({ outputs }) => outputs % 16 !== 0)).toEqual([]);
      expect(sizes.filter(({ inputs }) => inputs === 128).length).toBeGreaterThan(8);
    },
  );

  it('keeps its states in the form in which it takes them', async () => {
    const config = await readConfig(goldenCheckpoint('shared-pairs'));
    const { input, output } = await graphOf('shared-pairs', mode);
    const batch = mode === 'webgpuDecode' ? 'B' : 1;
    const inputs = new Map(input.map((value) => [value.name, shapeOf(value)]));
    const outputs = new Map(output.map((value) => [value.name, shapeOf(value)]));
    const states = webGpuStates(config);
    for (const { past, next, dims } of states) {
      expect(inputs.get(past), past).toEqual([batch, ...dims]);
      expect(outputs.get(next), next).toEqual([batch, ...dims]);
    }
    expect([...outputs.keys()].sort()).toEqual(['logits', ...states.map(({ next }) => next)].sort());
  });
});

async function graphOf(
  name: (typeof goldenNames)[number],
  mode: GraphName,
  form: WeightForm = 'fp32',
): Promise<GraphProto> {
  const config = await readConfig(goldenCheckpoint(name));
  const model = { config, layout: new WeightLayout(config, form), kvCache: defaultKvCache(form) };
  const { graph } = fromBinary(ModelProtoSchema, buildGraph(mode, model));
  if (!graph) throw new Error('a model without a graph');
  return graph;
}

/** `outer` are the values that a subgraph sees of the graph around it. */
function checkValues(graph: GraphProto, outer: ReadonlySet<string>): void {
  const known = new Set(outer);
  const define = (name: string) => {
    expect(known.has(name), `${name} is defined twice`).toBe(false);
    known.add(name);
  };
  for (const { name } of [...graph.input, ...graph.initializer]) define(name);
  for (const node of graph.node) {
    // An empty name stands for an optional input or output that is not there.
    for (const input of node.input.filter(Boolean))
      expect(known.has(input), `${node.name} reads ${input}`).toBe(true);
    for (const attribute of node.attribute) if (attribute.g) checkValues(attribute.g, known);
    for (const output of node.output.filter(Boolean)) define(output);
  }
  for (const { name } of graph.output) expect(known.has(name), `output ${name}`).toBe(true);
}

function shapeOf({ type }: ValueInfoProto): (string | number | null)[] {
  if (type?.value.case !== 'tensorType') return [];
  return (type.value.value.shape?.dim ?? []).map(({ value }) =>
    value.case === 'dimValue' ? Number(value.value) : (value.value ?? null),
  );
}
