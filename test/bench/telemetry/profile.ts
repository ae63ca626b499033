import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Cell } from '../engine/report/table.ts';
import { type Load, loads } from './loads.ts';
import { type CpuProfile, timesByOwner } from './owners.ts';

const warmUps = 4;
const intervalUs = 200;

/**
 * Where the process that `load` is for, with everything on, spends the processor time of `rounds` of it, by V8's profiles of all
 * its threads. Gives the largest shares and their sum in ms.
 */
export async function profile(
  load: Load,
  env: Record<string, string>,
  rounds: number,
): Promise<{ rows: Cell[][]; total: number }> {
  const { start, run } = loads[load];
  const folder = await mkdtemp(join(tmpdir(), 'baton-profile-'));
  try {
    const NODE_OPTIONS = `--cpu-prof --cpu-prof-interval=${intervalUs} --cpu-prof-dir=${folder}`;
    const { system, process, stop } = await start({ env: { ...env, NODE_OPTIONS }, metrics: true });
    const from = { us: 0 };
    try {
      for (let round = 0; round < warmUps; round++) await run(system);
      from.us = monotonicUs();
      for (let round = 0; round < rounds; round++) await run(system);
    } finally {
      await stop();
    }
    const pid = `.${process.pid}.`;
    const files = (await readdir(folder)).filter((name) => name.includes(pid));
    const profiles = files.map(
      async (name) => JSON.parse(await readFile(join(folder, name), 'utf8')) as CpuProfile,
    );
    const times = timesByOwner(await Promise.all(profiles), from.us);
    const total = [...times.values()].reduce((sum, ms) => sum + ms, 0);
    const largest = [...times].toSorted(([, a], [, b]) => b - a).filter(([, ms]) => ms > total / 1000);
    return { rows: largest.map(([owner, ms]) => [owner, ms, (100 * ms) / total]), total };
  } finally {
    await rm(folder, { recursive: true });
  }
}

/** The clock of V8's profiles. */
function monotonicUs(): number {
  return Number(globalThis.process.hrtime.bigint() / 1000n);
}
