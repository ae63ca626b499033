import { TokenLog } from '@baton/log';
import OpenAI from 'openai';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ownerOf, type StreamedResponse, streamResponse } from '../support/streamed-response.ts';
import { type System, startSystem } from '../support/system.ts';

const request = { input: 'Tell me a long story about a boat and a bear.', max_output_tokens: 200 };
const samplings = [
  { name: 'greedy', sampling: { temperature: 0 } },
  { name: 'seeded', sampling: { temperature: 0.9, top_k: 40, seed: 7 } },
];

describe('a generation that changes workers', () => {
  let system: System;
  let openai: OpenAI;
  let log: TokenLog;
  const undisturbed = new Map<string, StreamedResponse>();

  beforeAll(async () => {
    system = await startSystem({ workers: 2, env: { BATON_SNAPSHOT_TOKENS: '16' } });
    openai = new OpenAI({
      baseURL: `${system.url}/v1`,
      apiKey: 'none-needed',
      maxRetries: 0,
      timeout: 60_000,
    });
    log = await TokenLog.open(system.natsUrl);
    for (const { name, sampling } of samplings) {
      undisturbed.set(name, await streamResponse(openai, log, { ...request, ...sampling }));
    }
  });
  afterAll(async () => {
    await log?.close();
    await system?.stop();
  });

  const admin = async (path: string, body: object = {}) => {
    const answer = await fetch(`${system.url}/admin/${path}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
    });
    return { status: answer.status, body: await answer.json() };
  };
  const workers = async () => {
    const answer = await fetch(`${system.url}/admin/workers`);
    const { data } = (await answer.json()) as {
      data: { id: string; pid: number; state: string; generations: unknown[] }[];
    };
    return data;
  };
  const expectSame = (found: StreamedResponse, name: string) => {
    const right = undisturbed.get(name);
    expect(found.state.tokens).toEqual(right?.state.tokens);
    expect(found.text).toBe(right?.text);
  };

  it.each(samplings)('by request loses, repeats and changes nothing ($name)', async ({ name, sampling }) => {
    let answer: Awaited<ReturnType<typeof admin>> | undefined;
    const moved = await streamResponse(
      openai,
      log,
      { ...request, ...sampling },
      {
        after: 60,
        disturb: async (id) => {
          answer = await admin(`generations/${id}/migrate`);
        },
      },
    );
    expect(answer).toMatchObject({ status: 202, body: { status: 'migrating' } });
    expect(moved.state).toMatchObject({ epoch: 2, releases: 1 });
    expectSame(moved, name);
  });

  it.each(samplings)('because its worker was terminated ($name)', async ({ name, sampling }) => {
    const moved = await streamResponse(
      openai,
      log,
      { ...request, ...sampling },
      {
        after: 60,
        disturb: async (id) => {
          const worker = await ownerOf(system, log, id);
          // Not awaited: it ends when it has handed over, and that can be read in the stream.
          void worker.end('SIGTERM');
        },
      },
    );
    expect(moved.state).toMatchObject({ epoch: 2, releases: 1 });
    expectSame(moved, name);
    await system.addWorker();
  });

  it('because its worker was stopped, which goes on later and does no harm', async () => {
    let stopped = 0;
    const moved = await streamResponse(
      openai,
      log,
      { ...request, temperature: 0 },
      {
        after: 60,
        disturb: async (id) => {
          const owner = (await log.read(id))?.owner;
          stopped = (await workers()).find((worker) => worker.id === owner)?.pid ?? 0;
          process.kill(stopped, 'SIGSTOP');
        },
      },
    );
    process.kill(stopped, 'SIGCONT');
    expect(moved.state).toMatchObject({ epoch: 2, releases: 0 });
    expectSame(moved, 'greedy');
    await expect
      .poll(async () => (await workers()).filter(({ state }) => state === 'running').length)
      .toBe(2);
    expect((await log.read(moved.id))?.tokens).toEqual(moved.state.tokens);
    for (const { name, sampling } of samplings) {
      expectSame(await streamResponse(openai, log, { ...request, ...sampling }), name);
    }
  });

  it('is refused by name where it cannot be', async () => {
    const ended = undisturbed.get('greedy')?.id;
    expect(await admin(`generations/${ended}/migrate`)).toMatchObject({
      status: 400,
      body: { error: { message: expect.stringContaining('has ended') } },
    });
    expect(await admin(`generations/resp_${'0'.repeat(32)}/migrate`)).toMatchObject({ status: 404 });
    expect(await admin('workers/nobody/drain')).toMatchObject({
      status: 404,
      body: { error: { code: 'worker_not_found' } },
    });
    const response = await openai.responses.create({
      model: 'hymba-tiny-stories',
      ...request,
      background: true,
    });
    await expect.poll(async () => (await log.read(response.id))?.owner).toMatch(/worker/);
    expect(await admin(`generations/${response.id}/migrate`, { to: 'nobody' })).toMatchObject({
      status: 503,
      body: { error: { message: expect.stringContaining('nobody') } },
    });
  });

  it('leaves a worker that is told to drain, which then ends', async () => {
    const before = await workers();
    const moved = await streamResponse(
      openai,
      log,
      { ...request, temperature: 0 },
      {
        after: 60,
        disturb: async (id) => {
          expect(await admin(`workers/${(await log.read(id))?.owner}/drain`)).toMatchObject({ status: 202 });
        },
      },
    );
    expectSame(moved, 'greedy');
    await expect.poll(async () => (await workers()).length).toBe(before.length - 1);
  });
});
