import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import OpenAI from 'openai';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type System, startSystem } from '../support/system.ts';

const model = 'hymba-tiny-stories';
const system = 'You tell short stories to children. They are kind, end well, and have no hard words. '.repeat(
  10,
);

let baton: System;
let openai: OpenAI;
let store: string;

beforeAll(async () => {
  store = await mkdtemp(join(tmpdir(), 'baton-snapshots-'));
  baton = await startSystem({ workers: 1, env: { BATON_SNAPSHOT_STORE: pathToFileURL(store).href } });
  openai = new OpenAI({ baseURL: `${baton.url}/v1`, apiKey: 'none-needed', maxRetries: 0 });
});
afterAll(async () => {
  await baton?.stop();
  await rm(store, { recursive: true });
});

const newWorker = async () => {
  await Promise.all(baton.workers.map((worker) => worker.end('SIGKILL')));
  await baton.addWorker();
};
const ask = async (content: string) => {
  const { choices, usage } = await openai.chat.completions.create({
    model,
    messages: [
      { role: 'system', content: system },
      { role: 'user', content },
    ],
    temperature: 0,
    max_tokens: 60,
    logprobs: true,
  });
  const said = choices[0]?.logprobs?.content ?? [];
  return {
    tokens: said.map(({ token }) => token),
    logprobs: said.map(({ logprob }) => logprob.toFixed(3)),
    cached: usage?.prompt_tokens_details?.cached_tokens ?? 0,
    prompt: usage?.prompt_tokens ?? 0,
  };
};
const sharedPrompts = async () =>
  (await readdir(join(store, 'default', 'sessions'))).filter((session) => session.startsWith('prefix-'));

it('computes a system prompt once for all workers, and says the same after it', async () => {
  const first = await ask('Tell me about a boat.');
  await expect.poll(sharedPrompts).toHaveLength(1);
  await newWorker();
  const stored = await ask('Tell me about a cat.');
  const warm = await ask('Tell me about a cat.');
  await newWorker();
  await rm(join(store, 'default'), { recursive: true });
  const cold = await ask('Tell me about a cat.');

  expect([first, cold].map(({ cached }) => cached)).toEqual([0, 0]);
  // All but what the template puts around the question, and the question.
  expect(stored.cached).toBeGreaterThan(stored.prompt - 24);
  expect(stored.cached).toBeGreaterThanOrEqual(64);
  expect(warm.cached).toBe(stored.cached);
  expect(stored.tokens).toHaveLength(60);
  for (const { tokens, logprobs } of [stored, warm]) {
    expect({ tokens, logprobs }).toEqual({ tokens: cold.tokens, logprobs: cold.logprobs });
  }
  expect(first.logprobs).not.toEqual(cold.logprobs);
});
