import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { WebGpuRunner } from '@baton/engine/webgpu-runner';
import { madeUpState } from '../engine/jobs/made-up-state.ts';
import { quantile } from '../engine/report/statistics.ts';
import type { Row, Settings } from './main.ts';
import { hymba15b, openOnGpu } from './model.ts';
import { readProfile } from './profile.ts';

const context = 1024;
const runs = 9;
/** The last of them count. */
const counted = 4;
/** Kinds of program that get a column of their own. */
const shown = 8;

/** Where a decode step's time goes: steps without profiling, and then GPU programs one by one. */
export async function* programs(settings: Settings): AsyncGenerator<Row> {
  const { batches } = settings;
  const model = await hymba15b(settings);
  const slots = Math.max(...batches);
  const folder = await mkdtemp(join(tmpdir(), 'baton-profile-'));
  const state = madeUpState(model.config, model.fingerprint, context - 8 * batches.length);
  const measure = async (runner: WebGpuRunner, rowSets: readonly number[][]) => {
    // All slots have the room of the longest, and a step reads it whole.
    const states = Array.from({ length: slots }, (_, i) =>
      i === 0 ? runner.importState(state) : runner.newState(),
    );
    await runner.runBatch(states.map((own) => ({ state: own, ids: [1], rows: [] })));
    const medians: { ms: number; cpu: number }[][] = [];
    for (const batch of batches) {
      const ofBatch: { ms: number; cpu: number }[] = [];
      for (const rows of rowSets) {
        const milliseconds: number[] = [];
        const cpu: number[] = [];
        for (let run = 0; run < runs; run++) {
          const start = performance.now();
          const before = process.threadCpuUsage();
          await runner.runBatch(states.slice(0, batch).map((own) => ({ state: own, ids: [1], rows })));
          milliseconds.push(performance.now() - start);
          const { user, system } = process.threadCpuUsage(before);
          cpu.push((user + system) / 1000);
        }
        const median = (values: number[]) => quantile(values.slice(-counted), 0.5);
        ofBatch.push({ ms: median(milliseconds), cpu: median(cpu) });
      }
      medians.push(ofBatch);
    }
    await runner.close();
    return medians;
  };
  const plain = await measure(await openOnGpu(model, { slots }), [[0], []]);
  await measure(await openOnGpu(model, { slots, profile: join(folder, 'gpu') }), [[0]]);
  const all = await readProfile(folder, 'gpu-decode');
  await rm(folder, { recursive: true });
  const perRun = all.length / (runs * batches.length + 1);
  for (const [index, batch] of batches.entries()) {
    const last = 1 + (index + 1) * runs;
    const own = all.slice(Math.round((last - counted) * perRun), Math.round(last * perRun));
    const kinds = new Map<string, { count: number; ms: number }>();
    for (const { kind, ms } of own) {
      const sum = kinds.get(kind) ?? { count: 0, ms: 0 };
      kinds.set(kind, { count: sum.count + 1 / counted, ms: sum.ms + ms / counted });
    }
    const inside = [...kinds.values()].reduce((sum, { ms }) => sum + ms, 0);
    const nothing = { ms: Number.NaN, cpu: Number.NaN };
    const [{ ms: step, cpu } = nothing, { ms: silent } = nothing] = plain[index] ?? [];
    yield {
      batch,
      programs: perRun,
      'ms a step': step,
      'CPU ms of its thread': cpu,
      'ms without logits': silent,
      'ms in programs': inside,
      'ms outside': Math.max(0, step - inside),
      'shortest program µs': quantile(
        own.map(({ ms }) => ms * 1000),
        0.01,
      ),
      'most of it (count, ms)': [...kinds]
        .sort((a, b) => b[1].ms - a[1].ms)
        .slice(0, shown)
        .map(([kind, { count, ms }]) => `${kind} ${Math.round(count)}, ${ms.toFixed(1)}`)
        .join('; '),
    };
  }
}
