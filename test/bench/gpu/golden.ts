import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { WebGpuRunner } from '@baton/engine/webgpu-runner';
import { Checkpoint, convert } from '@baton/hymba';
import { goldenCheckpoint, goldenNames } from '@baton/testing';
import type { Row, Settings } from './main.ts';

/** How far logits are from those of the released code, and whether its greedy tokens come out. */
export async function* golden({ say }: Settings): AsyncGenerator<Row> {
  const folder = await mkdtemp(join(tmpdir(), 'baton-golden-'));
  for (const name of goldenNames) {
    say(`  ${name}`);
    const expected = await readExpected(name);
    await convert(goldenCheckpoint(name), join(folder, name));
    const runner = await WebGpuRunner.open(join(folder, name), { slots: 4, chunk: 7 });
    const { ids, logits, greedyIds } = expected;
    const differences = { prefill: 0, step: 0, batch: 0 };
    const compare = (kind: keyof typeof differences, found: Float32Array, row: number) => {
      const right = logits.subarray((row * logits.length) / ids.length);
      for (const [i, value] of found.entries())
        differences[kind] = Math.max(differences[kind], Math.abs(value - (right[i] ?? Number.NaN)));
    };
    const whole = runner.newState();
    compare('prefill', await runner.run(whole, { ids, rows: [...ids.keys()] }), 0);
    const single = runner.newState();
    for (const [at, id] of ids.entries())
      compare('step', await runner.run(single, { ids: [id], rows: [0] }), at);
    for (const state of [whole, single]) runner.freeState(state);
    // The same sequence from four different places on, in one batch.
    const starts = [1, 8, 20, 33];
    const states = starts.map(() => runner.newState());
    for (const [i, start] of starts.entries()) {
      const state = states[i];
      if (state) await runner.run(state, { ids: ids.slice(0, start), rows: [] });
    }
    const positions = [...starts];
    for (let step = 0; step < 24; step++) {
      // In turn, each sits a step out.
      const members = [...starts.keys()].filter((i) => i !== step % starts.length);
      const steps = members.flatMap((i) => {
        const state = states[i];
        return state ? [{ state, ids: [ids[positions[i] ?? 0] ?? 0], rows: [0] }] : [];
      });
      const found = await runner.runBatch(steps);
      for (const [at, i] of members.entries()) {
        const result = found[at];
        if (!(result instanceof Float32Array)) throw result;
        const position = positions[i] ?? 0;
        compare('batch', result, position);
        positions[i] = position + 1;
      }
    }
    for (const state of states) runner.freeState(state);
    const state = runner.newState();
    let row = await runner.run(state, { ids: greedyIds.slice(0, 24), rows: [23] });
    let equal = 0;
    for (const right of greedyIds.slice(24)) {
      const next = row.reduce((best, value, id) => (value > (row[best] ?? value) ? id : best), 0);
      if (next !== right) break;
      equal++;
      row = await runner.run(state, { ids: [next], rows: [0] });
    }
    yield {
      checkpoint: name,
      'largest logit difference, prefill in chunks of 7': differences.prefill.toExponential(1),
      'token by token': differences.step.toExponential(1),
      'in a batch of 4, three of them active': differences.batch.toExponential(1),
      'greedy tokens equal': `${equal} of ${greedyIds.length - 24}`,
    };
    await runner.close();
  }
  await rm(folder, { recursive: true });
}

async function readExpected(name: (typeof goldenNames)[number]) {
  await using file = await Checkpoint.open(goldenCheckpoint(name), 'expected.safetensors');
  const read = async (tensor: string) =>
    Array.from(new BigInt64Array(new Uint8Array(await file.bytes(tensor)).buffer), Number);
  const ids = await read('input_ids');
  const logits = await file.floats('logits');
  // The first of two sequences.
  return {
    ids: ids.slice(0, ids.length / 2),
    logits: logits.subarray(0, logits.length / 2),
    greedyIds: await read('greedy_ids'),
  };
}
