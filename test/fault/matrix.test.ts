import { readFile } from 'node:fs/promises';
import { validationStories } from '@baton/testing';
import { afterAll, beforeAll, it } from 'vitest';
import { type FaultCase, nameOf, pairwiseCases, samplings } from './matrix/cases.ts';
import { type Run, runCase, runUndisturbed, type Task } from './matrix/run-case.ts';
import { TargetSystem } from './matrix/target-system.ts';

let system: TargetSystem;
let task: Task;
const undisturbed = new Map<FaultCase['sampling'], Run>();

beforeAll(async () => {
  const stories = await readFile(validationStories(), 'utf8');
  task = { input: stories.slice(0, 1200), outputTokens: 160, at: 0.3 };
  system = await TargetSystem.start();
  for (const sampling of samplings) undisturbed.set(sampling, await runUndisturbed(system, task, sampling));
});
afterAll(() => system?.stop());

/** `npm run test:chaos` runs all of them. */
it.each(pairwiseCases().map((one) => ({ name: nameOf(one), one })))('$name', async ({ one }) => {
  const right = undisturbed.get(one.sampling);
  if (!right) throw new Error(`${one.sampling} was not run`);
  await runCase(system, one, task, right);
});
