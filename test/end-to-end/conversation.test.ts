import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import OpenAI from 'openai';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type System, startSystem } from '../support/system.ts';

const model = 'hymba-tiny-stories';
const limits = { temperature: 0, max_output_tokens: 80 };

let system: System;
let openai: OpenAI;
let store: string;

beforeAll(async () => {
  store = await mkdtemp(join(tmpdir(), 'baton-snapshots-'));
  system = await startSystem({ workers: 1, env: { BATON_SNAPSHOT_STORE: pathToFileURL(store).href } });
  openai = new OpenAI({ baseURL: `${system.url}/v1`, apiKey: 'none-needed', maxRetries: 0 });
});
afterAll(async () => {
  await system?.stop();
  await rm(store, { recursive: true });
});

const newWorker = async () => {
  await Promise.all(system.workers.map((worker) => worker.end('SIGKILL')));
  await system.addWorker();
};
const cachedOf = (response: OpenAI.Responses.Response) =>
  response.usage?.input_tokens_details.cached_tokens ?? 0;

it('goes on from its own state: warm, stored, or computed again, with the same words', async () => {
  const first = await openai.responses.create({ model, input: 'Tell me a story about a boat.', ...limits });
  const before = first.usage?.total_tokens ?? 0;
  const next = () =>
    openai.responses.create({
      model,
      input: 'What happened next?',
      previous_response_id: first.id,
      ...limits,
    });
  const warm = await next();
  await newWorker();
  const stored = await next();
  const branched = await next();
  await newWorker();
  await rm(join(store, 'default'), { recursive: true });
  const computed = await next();

  // All of the first turn but its last token, which was sampled and never fed.
  expect([warm, stored, branched, computed].map(cachedOf)).toEqual([before - 1, before - 1, before - 1, 0]);
  expect(warm.output_text.length).toBeGreaterThan(40);
  for (const response of [stored, branched, computed]) expect(response.output_text).toBe(warm.output_text);
});

it('forgets the state of a response that is deleted', async () => {
  const first = await openai.responses.create({ model, input: 'Tell me a story about a cat.', ...limits });
  await openai.responses.delete(first.id);
  await newWorker();
  const next = openai.responses.create({
    model,
    input: 'And then?',
    previous_response_id: first.id,
    ...limits,
  });
  await expect(next).rejects.toMatchObject({ status: 404, param: 'previous_response_id' });
});
