import { TokenLog } from '@baton/log';
import OpenAI from 'openai';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ownerOf, streamResponse } from '../support/streamed-response.ts';
import { type System, startSystem } from '../support/system.ts';

const request = { input: 'Tell me a long story about a boat and a bear.', max_output_tokens: 160 };
const samplings = { greedy: { temperature: 0 }, 'seeded sampling': { temperature: 0.9, top_k: 40, seed: 7 } };

const maxClaims = 3;

describe('a worker killed in the middle of a stream', () => {
  let system: System;
  let openai: OpenAI;
  let log: TokenLog;

  beforeAll(async () => {
    system = await startSystem({ workers: 2, env: { BATON_MAX_CLAIMS: String(maxClaims) } });
    openai = new OpenAI({
      baseURL: `${system.url}/v1`,
      apiKey: 'none-needed',
      maxRetries: 0,
      timeout: 60_000,
    });
    log = await TokenLog.open(system.natsUrl);
  });
  afterAll(async () => {
    await log?.close();
    await system?.stop();
  });

  const killOwner = async (id: string) => {
    await (await ownerOf(system, log, id)).end('SIGKILL');
  };

  it.each(Object.entries(samplings))('loses, repeats and changes nothing (%s)', async (_, sampling) => {
    const undisturbed = await streamResponse(openai, log, { ...request, ...sampling });
    expect(undisturbed.state.epoch).toBe(1);

    const disturbance = { after: 40, disturb: killOwner };
    const killed = await streamResponse(openai, log, { ...request, ...sampling }, disturbance);
    expect(killed.state).toMatchObject({ epoch: 2, releases: 0 });
    expect(killed.state.tokens).toEqual(undisturbed.state.tokens);
    expect(killed.text).toBe(undisturbed.text);
    await system.addWorker();
  });

  it('again and again ends the generation with an error that says so', async () => {
    await system.addWorker();
    await system.addWorker();
    const response = await openai.responses.create({
      model: 'hymba-tiny-stories',
      ...request,
      max_output_tokens: 1500,
      background: true,
    });
    const feed = await log.subscribe(response.id);
    for await (const entry of feed.entries()) {
      if (entry.kind === 'claimed' && entry.epoch <= maxClaims) await killOwner(response.id);
    }
    const { status, error } = await openai.responses.retrieve(response.id);
    expect(status).toBe('failed');
    expect(error).toMatchObject({
      code: 'server_error',
      message: expect.stringContaining(`${maxClaims} workers`),
    });
    expect((await log.read(response.id))?.epoch).toBe(maxClaims + 1);
  });
});
