/** `npm run test:chaos`: every fault at every moment, again and again; the last line are the totals. */
import { readFile } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import { validationStories } from '@baton/testing';
import { totalsLine } from '../../infra/local/totals.ts';
import { allCases, type FaultCase, nameOf, samplings } from './matrix/cases.ts';
import { seededRandom, shuffled } from './matrix/random.ts';
import { type Run, runCase, runUndisturbed, type Task } from './matrix/run-case.ts';
import { TargetSystem } from './matrix/target-system.ts';

const usage = `usage: npm run test:chaos -- [--seed <number>] [--rounds <number>] [--only <part of a case's name>]`;
const caseMs = 120_000;
const say = (line: string): void => void process.stdout.write(`${line}\n`);

function readOptions() {
  const { values } = parseArgs({
    options: { seed: { type: 'string' }, rounds: { type: 'string' }, only: { type: 'string' } },
  });
  const seed = Number(values.seed ?? Math.floor(Math.random() * 2 ** 32));
  const rounds = Number(values.rounds ?? 3);
  const cases = allCases().filter((one) => nameOf(one).includes(values.only ?? ''));
  if (!Number.isInteger(seed) || !Number.isInteger(rounds) || rounds < 1 || cases.length === 0) {
    say(`${usage}\n${allCases().map(nameOf).slice(0, 3).join('\n')}\n…`);
    process.exit(2);
  }
  return { seed, rounds, cases };
}

const { seed, rounds, cases } = readOptions();
const random = seededRandom(seed);
const stories = await readFile(validationStories(), 'utf8');
say(`seed ${seed}: ${rounds} rounds of ${cases.length} cases`);

let [passed, failed, missed] = [0, 0, 0];
for (let round = 1; round <= rounds; round++) {
  const start = Math.floor(random() * (stories.length - 4000));
  const story = { input: stories.slice(start, start + 1000 + Math.floor(random() * 3000)) };
  const outputTokens = 120 + Math.floor(random() * 280);
  let system = await TargetSystem.start();
  const undisturbed = new Map<FaultCase['sampling'], Run>();
  for (const sampling of samplings) {
    undisturbed.set(sampling, await runUndisturbed(system, { ...story, outputTokens, at: 0 }, sampling));
  }
  for (const [at, one] of byTier(shuffled(cases, random)).entries()) {
    const task: Task = { ...story, outputTokens, at: random() };
    const right = undisturbed.get(one.sampling);
    const place = `round ${round}, ${at + 1} of ${cases.length}: ${nameOf(one)}`;
    try {
      if (!right) throw new Error(`${one.sampling} was not run`);
      const { struck } = await bounded(runCase(system, one, task, right));
      passed++;
      if (!struck) missed++;
      say(`${place}: passed${struck ? '' : ', but too late for its moment'}`);
    } catch (error) {
      failed++;
      say(`${place}: FAILED\n${error instanceof Error ? error.stack : error}\n${system.output}`);
      // What is left of it is no place for the next case.
      await system.stop();
      system = await TargetSystem.start();
    }
  }
  await system.stop();
}
say(`seed ${seed}: ${missed} of ${passed + failed} struck too late for their moment`);
say(totalsLine({ passed, failed, skipped: 0 }));
process.exit(failed === 0 ? 0 : 1);

/** Workers of one tier are started once. */
function byTier(some: readonly FaultCase[]): FaultCase[] {
  const tiers = [...new Set(some.map(({ tier }) => tier))];
  return tiers.flatMap((tier) => some.filter((one) => one.tier === tier));
}

async function bounded<T>(work: Promise<T>): Promise<T> {
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(() => late.reject(new Error(`no end after ${caseMs / 1000} s`)), caseMs);
  try {
    return await Promise.race([work, late.promise]);
  } finally {
    clearTimeout(timer);
  }
}
