import { TokenLog } from '@baton/log';
import { OtlpReceiver } from '@baton/testing/otlp-receiver';
import { Redis } from 'ioredis';
import OpenAI from 'openai';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { corruptPages } from '../fault/matrix/faults.ts';
import { parsePage, sumOf } from '../support/prometheus-page.ts';
import { streamResponse } from '../support/streamed-response.ts';
import { type System, startSystem } from '../support/system.ts';

const model = 'hymba-tiny-stories';
const instructions = 'You tell short stories to children. They are kind, end well, and are easy. '.repeat(8);
let moves = 6;
const traceIdOf = (number: number) => String(number).padStart(32, 'a');

describe('where a state came from', () => {
  let receiver: OtlpReceiver;
  let system: System;
  let log: TokenLog;
  let openai: OpenAI;

  beforeAll(async () => {
    receiver = await OtlpReceiver.start();
    const env = { ...receiver.env, OTEL_BSP_SCHEDULE_DELAY: '50', BATON_SNAPSHOT_TOKENS: '16' };
    system = await startSystem({ workers: 1, metrics: true, env });
    log = await TokenLog.open(system.natsUrl);
    openai = new OpenAI({ baseURL: `${system.url}/v1`, apiKey: 'none', maxRetries: 0 });
  });
  afterAll(async () => {
    await log?.close();
    await system?.stop();
    await receiver?.stop();
  });

  /** The only worker from now on, which remembers nothing. */
  const newWorker = async () => {
    await Promise.all(system.workers.map((worker) => worker.end('SIGTERM')));
    return system.addWorker();
  };
  const inTrace = (traceId: string) =>
    receiver.spans.filter((span) => span.traceId === traceId).toSorted((a, b) => a.start - b.start);
  const clientOf = (traceId: string) =>
    new OpenAI({
      baseURL: `${system.url}/v1`,
      apiKey: 'none',
      maxRetries: 0,
      defaultHeaders: { traceparent: `00-${traceId}-${'b'.repeat(16)}-01` },
    });
  const restoreIn = async (traceId: string) =>
    (await receiver.waitFor((span) => span.name === 'restore' && span.traceId === traceId)).attributes;
  const ask = async (traceId: string, body: object) => {
    const request = {
      model,
      max_output_tokens: 20,
      ...body,
    } as OpenAI.Responses.ResponseCreateParamsNonStreaming;
    const { id, usage } = await clientOf(traceId).responses.create(request);
    return { id, cached: usage?.input_tokens_details.cached_tokens, restore: await restoreIn(traceId) };
  };

  it('is told of a shared system prompt, from its snapshot and from memory, as the usage tells it', async () => {
    const first = await ask(traceIdOf(1), { instructions, input: 'Tell me about a boat.' });
    expect(first).toMatchObject({ cached: 0, restore: { 'baton.restore.source': 'none' } });
    expect(first.restore['baton.restore.reason']).toBe('prefix has no snapshot');
    const redis = new Redis(system.redisUrl);
    await expect.poll(async () => (await redis.keys('*prefix-*')).length).toBeGreaterThan(0);
    redis.disconnect();
    await newWorker();
    const stored = await ask(traceIdOf(2), { instructions, input: 'Tell me about a cat.' });
    expect(stored.cached).toBeGreaterThanOrEqual(64);
    expect(stored.restore).toMatchObject({
      'baton.restore.source': 'snapshot',
      'baton.restore.of': 'prefix',
      'baton.restore.tokens': stored.cached,
      'baton.restore.reason': 'costs are not measured yet',
    });
    expect(stored.restore['baton.restore.bytes']).toBeGreaterThan(1000);
    expect(stored.restore['baton.restore.milliseconds']).toBeGreaterThan(0);
    const warm = await ask(traceIdOf(3), { instructions, input: 'Tell me about a dog.' });
    expect(warm.cached).toBe(stored.cached);
    expect(warm.restore).toMatchObject({
      'baton.restore.source': 'warm',
      'baton.restore.of': 'prefix',
      'baton.restore.tokens': warm.cached,
      'baton.restore.bytes': 0,
      'baton.restore.reason': 'it is in memory',
    });
  });

  it('is told of a damaged snapshot, which is refused by name, counted, and computed again', async () => {
    const first = await ask(traceIdOf(4), { input: 'Tell me about a bear.' });
    const redis = new Redis(system.redisUrl);
    await corruptPages(redis);
    redis.disconnect();
    const worker = await newWorker();
    const refusals = async (labels: Record<string, string> = {}) =>
      sumOf(parsePage(await worker.metrics()), 'baton_restore_refusals_total', labels);
    expect(await refusals()).toBe(0);
    const next = await ask(traceIdOf(5), { input: 'And then?', previous_response_id: first.id });
    expect(next).toMatchObject({ cached: 0, restore: { 'baton.restore.source': 'none' } });
    expect(next.restore['baton.restore.reason']).toMatch(/snapshot of parent: corrupted: page .* is damaged/);
    expect(await refusals({ error_type: 'corrupted' })).toBe(1);
    expect(await refusals()).toBe(1);
    const told = worker.output.split('\n').find((line) => line.includes('snapshot not used'));
    expect(JSON.parse(told ?? '{}')).toMatchObject({
      generation: next.id,
      reason: 'corrupted',
      trace_id: traceIdOf(5),
    });
  });

  // Beside other busy programs a worker may stand still for so long that it is taken for lost, too.
  it('is told of a generation that moves, in its own trace', { retry: 2 }, async () => {
    const traceId = traceIdOf(moves++);
    await newWorker();
    await system.addWorker();
    const body = { input: 'Tell me a long story about a boat.', max_output_tokens: 600, ignore_eos: true };
    const { state } = await streamResponse(clientOf(traceId), log, body, {
      after: 20,
      disturb: async (id) => {
        await receiver.waitFor((span) => span.name === 'snapshot' && span.traceId === traceId);
        await openai.post(`/../admin/generations/${id}/migrate`);
      },
    });
    expect(state).toMatchObject({ epoch: 2, crashes: 0 });
    await receiver.waitFor((span) => span.name === 'append finish' && span.traceId === traceId);
    await expect.poll(() => inTrace(traceId).filter(({ name }) => name === 'decode')).toHaveLength(2);
    const spans = inTrace(traceId);
    expect(spans.filter(({ status }) => status === 'error')).toEqual([]);
    const first = spans.find(({ name }) => name === 'append claimed');
    for (const name of ['claim', 'restore', 'prefill', 'decode']) {
      const [before, after] = spans.filter((span) => span.name === name);
      expect(before?.resource['service.instance.id'], name).toBe(first?.resource['service.instance.id']);
      expect(after?.resource['service.instance.id'], name).not.toBe(before?.resource['service.instance.id']);
      expect(after?.links, name).toEqual([
        { traceId, spanId: first?.spanId, attributes: { 'baton.link': 'first_attempt' } },
      ]);
    }
    const restored = spans.filter(({ name }) => name === 'restore').at(-1)?.attributes ?? {};
    expect(restored).toMatchObject({
      'baton.restore.source': 'snapshot',
      'baton.restore.of': 'generation',
      'baton.restore.reason': 'costs are not measured yet',
    });
    expect(restored['baton.restore.bytes']).toBeGreaterThan(1000);
  });
});
