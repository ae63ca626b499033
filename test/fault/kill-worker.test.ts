import { TokenLog } from '@baton/log';
import OpenAI from 'openai';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { ownerOf } from '../support/streamed-response.ts';
import { type System, startSystem } from '../support/system.ts';

const maxClaims = 3;
let system: System;
let log: TokenLog;

beforeAll(async () => {
  system = await startSystem({ workers: maxClaims + 1, env: { BATON_MAX_CLAIMS: String(maxClaims) } });
  log = await TokenLog.open(system.natsUrl);
});
afterAll(async () => {
  await log?.close();
  await system?.stop();
});

it('a generation that loses worker after worker ends with an error that says so', async () => {
  const openai = new OpenAI({ baseURL: `${system.url}/v1`, apiKey: 'none-needed', maxRetries: 0 });
  const response = await openai.responses.create({
    model: 'hymba-tiny-stories',
    input: 'Tell me a long story about a boat and a bear.',
    max_output_tokens: 1500,
    background: true,
  });
  const feed = await log.subscribe(response.id);
  for await (const entry of feed.entries()) {
    if (entry.kind === 'claimed' && entry.epoch <= maxClaims) {
      await (await ownerOf(system, log, response.id)).end('SIGKILL');
    }
  }
  const { status, error } = await openai.responses.retrieve(response.id);
  expect(status).toBe('failed');
  expect(error).toMatchObject({
    code: 'server_error',
    message: expect.stringContaining(`${maxClaims} workers`),
  });
  expect((await log.read(response.id))?.epoch).toBe(maxClaims + 1);
});
