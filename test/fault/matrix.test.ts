import { readFile } from 'node:fs/promises';
import { validationStories } from '@baton/testing';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type FaultCase, nameOf, pairwiseCases, samplings } from './matrix/cases.ts';
import { ResponseReader } from './matrix/response-reader.ts';
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
  expect(await runCase(system, one, task, right)).toEqual({ struck: true });
});

it('a worker that is told to stop and cannot hand over ends all the same, and another goes on', async () => {
  await system.heal('exact');
  const reader = new ResponseReader(system.urls, { request: { input: task.input, max_output_tokens: 1000 } });
  const id = await reader.started;
  await expect.poll(() => system.ownerOf(id)).not.toBeNull();
  const owner = await system.ownerOf(id);
  owner?.nats.hold();
  expect(await owner?.process.end('SIGTERM')).toBe(0);
  await reader.ended;
  expect((await system.log.read(id))?.terminal).toMatchObject({ kind: 'finish' });
});
