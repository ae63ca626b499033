import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import type { EngineModel, SessionState, StateDelta, StateLayout } from '@baton/engine';
import { ModelRunner } from '@baton/engine/model-runner';
import { WebGpuRunner } from '@baton/engine/webgpu-runner';
import { convert } from '@baton/hymba';
import { loadTokenizer } from '@baton/hymba/tokenizer';
import type { CodecTier } from '@baton/snapshot';
import { Codec } from '@baton/snapshot/codec';
import { pagesOf, stateOf } from '@baton/snapshot/pages';
import { tinyStoriesCheckpoint, validationStories } from '@baton/testing';
import { summarize } from '../engine/report/statistics.ts';
import type { Row, Settings } from './main.ts';
import { hymba15b } from './model.ts';

const tiers: readonly CodecTier[] = ['exact', 'int8', 'compact'];
const promptTokens = 120;
const greedyTokens = 64;
const rounds = 5;

/** A model on one device, as far as moving takes it. */
interface Device<State> {
  readonly model: EngineModel;
  readonly layout: StateLayout;
  newState(): State;
  importState(state: SessionState): State;
  exportState(state: State, from: number): Promise<StateDelta>;
  freeState(state: State): void;
  run(state: State, step: { readonly ids: number[]; readonly rows: number[] }): Promise<Float32Array>;
}

/** A story is begun on one device, moved through a snapshot of each tier, and continued greedily on both. */
export async function* moves(settings: Settings): AsyncGenerator<Row> {
  const folder = await mkdtemp(join(tmpdir(), 'baton-moves-'));
  await convert(tinyStoriesCheckpoint(), join(folder, 'model'));
  const threads = Math.min(8, availableParallelism());
  const cpu = await ModelRunner.open(join(folder, 'model'), { threads, slots: 1 });
  const gpu = await WebGpuRunner.open(join(folder, 'model'), { slots: 1 });
  const tokenizer = await loadTokenizer(tinyStoriesCheckpoint());
  const stories = (await readFile(validationStories(), 'utf8'))
    .split('<|endoftext|>')
    .map((story) => tokenizer.encode(story.trim()).slice(0, promptTokens))
    .filter((ids) => ids.length === promptTokens)
    .slice(0, rounds);
  for (const tier of tiers) {
    settings.say(`  ${tier}`);
    yield { move: 'GPU → CPU', ...(await moveBetween(gpu, cpu, tier, stories)) };
    yield { move: 'CPU → GPU', ...(await moveBetween(cpu, gpu, tier, stories)) };
  }
  await Promise.all([gpu.close(), cpu.close()]);
  await rm(folder, { recursive: true });
  yield await large(settings);
}

async function moveBetween<A, B>(
  from: Device<A>,
  to: Device<B>,
  tier: CodecTier,
  stories: readonly number[][],
): Promise<Row> {
  const saving: number[] = [];
  const restoring: number[] = [];
  let [equal, difference, size] = [0, 0, 0];
  for (const ids of stories) {
    const state = from.newState();
    const first = indexOfLargest(await from.run(state, { ids, rows: [promptTokens - 1] }));
    const started = performance.now();
    const { fresh } = pagesOf([await from.exportState(state, 0)], [], tier, new Codec(from.layout));
    const saved = performance.now();
    const there = to.importState(
      stateOf(fresh, new Codec(to.layout), { fingerprint: to.model.fingerprint, tokens: promptTokens }),
    );
    const moved = (await to.run(there, { ids: [first], rows: [0] })).slice();
    restoring.push(performance.now() - saved);
    saving.push(saved - started);
    size += fresh.reduce((sum, { bytes }) => sum + bytes.length, 0);
    const stayed = (await from.run(state, { ids: [first], rows: [0] })).slice();
    for (const [i, value] of stayed.entries())
      difference = Math.max(difference, Math.abs(value - (moved[i] ?? Number.NaN)));
    const [here, elsewhere] = [await greedy(from, state, stayed), await greedy(to, there, moved)];
    equal += here.filter((token, i) => token === elsewhere[i]).length;
    from.freeState(state);
    to.freeState(there);
  }
  return {
    model: 'hymba-tiny-stories, fp32',
    tier,
    tokens: promptTokens,
    'greedy tokens equal': `${equal} of ${greedyTokens * stories.length}`,
    'largest logit difference': difference.toExponential(1),
    'snapshot KB': size / stories.length / 1000,
    'export and encode ms': summarize(saving),
    'decode, import and first step ms': summarize(restoring),
  };
}

/** What it takes to bring a session of the 1.5B's sizes off the GPU and back, without a codec. */
async function large(settings: Settings): Promise<Row> {
  const model = await hymba15b(settings);
  const gpu = await WebGpuRunner.open(model.folder, { slots: 2 });
  const ids = Array.from({ length: 1000 }, (_, i) => (i * 37) % 256);
  const state = gpu.newState();
  await gpu.run(state, { ids, rows: [] });
  const exporting: number[] = [];
  const importing: number[] = [];
  for (let round = 0; round < rounds; round++) {
    const start = performance.now();
    const saved = await gpu.exportState(state, 0);
    const exported = performance.now();
    const there = gpu.importState([saved]);
    await gpu.run(there, { ids: [9], rows: [0] });
    importing.push(performance.now() - exported);
    exporting.push(exported - start);
    gpu.freeState(there);
  }
  await gpu.close();
  return {
    move: 'GPU → memory → GPU',
    model: 'Hymba-1.5B sizes, int4',
    tier: 'none',
    tokens: ids.length,
    'export and encode ms': summarize(exporting),
    'decode, import and first step ms': summarize(importing),
  };
}

async function greedy<State>(device: Device<State>, state: State, first: Float32Array): Promise<number[]> {
  const tokens: number[] = [];
  let row = first;
  while (tokens.length < greedyTokens) {
    tokens.push(indexOfLargest(row));
    row = await device.run(state, { ids: tokens.slice(-1), rows: [0] });
  }
  return tokens;
}

function indexOfLargest(row: Float32Array): number {
  return row.reduce((best, value, id) => (value > (row[best] ?? value) ? id : best), 0);
}
