import { TokenLog } from '@baton/log';
import OpenAI from 'openai';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ownerOf, type StreamedResponse, streamResponse } from '../support/streamed-response.ts';
import { type System, startSystem } from '../support/system.ts';

const request = {
  input: 'Tell me a long story about a boat and a bear.',
  max_output_tokens: 1000,
  ignore_eos: true,
};
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
    const stall = new URL('../support/stall-on-signal.ts', import.meta.url);
    system = await startSystem({
      workers: 2,
      env: { BATON_SNAPSHOT_TOKENS: '16', NODE_OPTIONS: `--import=${stall}` },
    });
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
      data: {
        id: string;
        pid: number;
        state: string;
        generations: { tokens: number; snapshot_lag: number }[];
      }[];
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
        after: 2,
        disturb: async (id) => {
          answer = await admin(`generations/${id}/migrate`);
        },
      },
    );
    expect(answer).toMatchObject({ status: 202, body: { status: 'migrating' } });
    expect(moved.state).toMatchObject({ epoch: 2, crashes: 0 });
    expectSame(moved, name);
  });

  it('is seen by operators where it runs', async () => {
    const seen = await streamResponse(openai, log, request, {
      after: 2,
      disturb: async (id) => {
        const owner = (await log.read(id))?.owner;
        const lags: number[] = [];
        const told = async () => {
          const worker = (await workers()).find((worker) => worker.id === owner);
          return worker?.generations.map(({ snapshot_lag: lag, tokens, ...generation }) => {
            lags.push(lag);
            // A snapshot is due after 16 tokens, and saved while others are sampled.
            return { ...generation, isBounded: lag <= tokens && lag < 4 * 16 };
          });
        };
        await expect.poll(told).toEqual([{ id, isBounded: true }]);
        expect(Math.min(...lags)).toBeGreaterThanOrEqual(0);
        const process = system.workers.find((worker) => worker.id === owner);
        expect((await workers()).find((worker) => worker.id === owner)).toMatchObject({
          pid: process?.child.pid,
          state: 'running',
          device: 'cpu',
          slots: 8,
          model: 'hymba-tiny-stories',
        });
      },
    });
    expect(seen.state.epoch).toBe(1);
  });

  it('stays where its worker only stood still for a second', async () => {
    const stalled = await streamResponse(
      openai,
      log,
      { ...request, temperature: 0 },
      {
        after: 2,
        disturb: async (id) => {
          const worker = await ownerOf(system, log, id);
          worker.child.kill('SIGUSR2');
          await expect.poll(() => worker.output).toContain('stood still');
        },
      },
    );
    expect(stalled.state.epoch).toBe(1);
    expectSame(stalled, 'greedy');
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
    let drained = '';
    const moved = await streamResponse(
      openai,
      log,
      { ...request, temperature: 0 },
      {
        after: 2,
        disturb: async (id) => {
          drained = (await log.read(id))?.owner ?? '';
          expect(await admin(`workers/${drained}/drain`)).toMatchObject({
            status: 202,
            body: { id: drained, status: 'draining' },
          });
        },
      },
    );
    expectSame(moved, 'greedy');
    expect(moved.state).toMatchObject({ epoch: 2, crashes: 0 });
    await expect.poll(async () => (await workers()).map(({ id }) => id)).not.toContain(drained);
    const process = system.workers.find(({ id }) => id === drained);
    await expect.poll(() => process?.child.exitCode).toBe(0);
  });
});
