import { Heartbeat } from '@baton/fleet';
import { newId, serviceTimesKey, type WorkerStatus } from '@baton/protocol';
import { exampleJob } from '@baton/protocol/testing';
import { Redis } from 'ioredis';
import OpenAI from 'openai';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { answer, answerText, waitForCancel } from '../testing/scripts.ts';
import { TestBench } from '../testing/test-bench.ts';
import { RateLimits } from './rate-limits.ts';

const model = 'hymba-tiny-stories';
let bench: TestBench;
beforeAll(async () => {
  bench = await TestBench.start();
});
afterAll(() => bench.stop());
beforeEach(() => {
  bench.script = answer;
});

const newKey = async (tenant: string) =>
  (await bench.keys.create({ tenant, scopes: ['inference'], name: '' })).key;
/** Whether the gateway has heard of a worker. */
const heard = async (url: string) => {
  const { key } = await bench.keys.create({ tenant: 'operator', scopes: ['admin'], name: '' });
  const answer = await fetch(`${url}/admin/workers`, { headers: { authorization: `Bearer ${key}` } });
  return ((await answer.json()) as { data: unknown[] }).data.length > 0;
};
const complete = (url: string, key: string, fields: object = {}, signal?: AbortSignal) =>
  fetch(`${url}/v1/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', authorization: `Bearer ${key}` },
    body: JSON.stringify({ model, prompt: [5, 6, 7], max_tokens: 20, ...fields }),
    ...(signal && { signal }),
  });

describe("a tenant's conversations", () => {
  it('take so much together at most', async () => {
    const { url } = await bench.startGateway({ conversationQuotaBytes: 10_000 }, { withKeys: true });
    const [key, another] = [await newKey('archivist'), await newKey('neighbour')];
    const add = (path: string, key: string) =>
      fetch(`${url}/v1/conversations${path}`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', authorization: `Bearer ${key}` },
        body: JSON.stringify({ items: [{ role: 'user', content: 'z'.repeat(4000) }] }),
      });
    const made = await add('', key);
    const { id } = (await made.json()) as { id: string };
    expect((await add('', key)).status).toBe(200);
    for (const path of ['', `/${id}/items`]) {
      const refused = await add(path, key);
      expect([refused.status, await refused.json()]).toMatchObject([
        413,
        { error: { code: 'request_too_large', message: expect.stringContaining('10000 bytes') } },
      ]);
    }
    expect((await add('', another)).status).toBe(200);
    const deleted = await fetch(`${url}/v1/conversations/${id}`, {
      method: 'DELETE',
      headers: { authorization: `Bearer ${key}` },
    });
    expect(deleted.status).toBe(200);
    expect((await add('', key)).status).toBe(200);
  });

  it('take what a response of theirs says also where they are full, and things may be taken away', async () => {
    const { url } = await bench.startGateway({ conversationQuotaBytes: 1500 }, { withKeys: true });
    const authorization = `Bearer ${await newKey('collector')}`;
    const call = (method: string, path: string, body?: object) =>
      fetch(`${url}/v1${path}`, {
        method,
        headers: { authorization, ...(body && { 'content-type': 'application/json' }) },
        ...(body && { body: JSON.stringify(body) }),
      });
    const items = [{ role: 'user', content: 'z'.repeat(800) }];
    const { id } = (await (await call('POST', '/conversations', { items })).json()) as { id: string };
    const asked = { model, conversation: id, input: 'y'.repeat(500), max_output_tokens: 4 };
    const response = (await (await call('POST', '/responses', asked)).json()) as { id: string };
    expect((await call('POST', `/conversations/${id}/items`, { items })).status).toBe(413);
    expect((await call('DELETE', `/responses/${response.id}`)).status).toBe(200);
    const kept = await (await call('GET', `/conversations/${id}/items?order=asc`)).json();
    const { data } = kept as { data: { id: string }[] };
    expect(data).toHaveLength(3);
    expect((await call('DELETE', `/conversations/${id}/items/${data[2]?.id}`)).status).toBe(200);
  });
});

describe('requests and tokens a minute', () => {
  it('are told of, and bound each tenant on all gateways together', async () => {
    const limits = { requestsPerMinute: 2, tokensPerMinute: 1000 };
    const [one, other] = [
      await bench.startGateway({}, { withKeys: true, limits }),
      await bench.startGateway({}, { withKeys: true, limits }),
    ];
    const [key, another] = [await newKey('often'), await newKey('seldom')];
    const first = await complete(one.url, key);
    expect(first.status).toBe(200);
    expect(Object.fromEntries(first.headers)).toMatchObject({
      'x-ratelimit-limit-requests': '2',
      'x-ratelimit-remaining-requests': '1',
      'x-ratelimit-reset-requests': expect.stringMatching(/^\d+(\.\d+)?s$/),
      'x-ratelimit-limit-tokens': '1000',
      'x-ratelimit-remaining-tokens': '977',
      'x-ratelimit-reset-tokens': expect.stringMatching(/^\d+(\.\d+)?s$/),
    });
    expect((await complete(other.url, key, { stream: true })).status).toBe(200);
    const refused = await complete(other.url, key);
    expect(refused.status).toBe(429);
    expect(await refused.json()).toMatchObject({
      error: { type: 'rate_limit_error', code: 'rate_limit_exceeded', param: null },
    });
    const { headers } = refused;
    expect(headers.get('x-ratelimit-remaining-requests')).toBe('0');
    const retryAfterMs = Number(headers.get('retry-after-ms'));
    expect(headers.get('x-ratelimit-reset-requests')).toBe(`${retryAfterMs / 1000}s`);
    expect(Number(headers.get('retry-after'))).toBe(Math.ceil(retryAfterMs / 1000));
    expect((await complete(one.url, another)).status).toBe(200);
  });

  it('count requests for conversations, too', async () => {
    const { url } = await bench.startGateway(
      {},
      { withKeys: true, limits: { requestsPerMinute: 3, tokensPerMinute: null } },
    );
    const key = await newKey('talkative');
    const send = (method: string, path: string, body?: object) =>
      fetch(`${url}/v1/conversations${path}`, {
        method,
        headers: { ...(body && { 'content-type': 'application/json' }), authorization: `Bearer ${key}` },
        ...(body && { body: JSON.stringify(body) }),
      });
    const made = await send('POST', '', { items: [{ role: 'user', content: 'hi' }] });
    expect([made.status, made.headers.get('x-ratelimit-remaining-requests')]).toEqual([200, '2']);
    const { id } = (await made.json()) as { id: string };
    expect((await complete(url, key)).status).toBe(200);
    expect((await send('GET', `/${id}/items`)).status).toBe(200);
    for (const [method, path, body] of [
      ['POST', '', {}],
      ['GET', `/${id}`],
      ['POST', `/${id}/items`, { items: [{ role: 'user', content: 'hi' }] }],
      ['DELETE', `/${id}`],
    ] as const) {
      expect((await send(method, path, body)).status).toBe(429);
    }
  });

  it('count with all that a request may come to, and in the end with what it came to', async () => {
    const { url } = await bench.startGateway(
      {},
      { withKeys: true, limits: { requestsPerMinute: null, tokensPerMinute: 100 } },
    );
    const key = await newKey('thrifty');
    const remaining = (response: Response) => Number(response.headers.get('x-ratelimit-remaining-tokens'));
    const said = 12;
    const whole = await complete(url, key, { max_tokens: 80 });
    expect(remaining(whole)).toBe(100 - 3 - 80);
    await whole.text();
    const second = await complete(url, key, { max_tokens: 80 });
    expect([second.status, remaining(second)]).toEqual([200, 100 - (3 + said) - 83]);
    const third = await complete(url, key, { max_tokens: 80 });
    expect(third.status).toBe(429);
    // What was refused counts with nothing.
    const fourth = await complete(url, key, { max_tokens: 10 });
    expect([fourth.status, remaining(fourth)]).toEqual([200, 100 - 2 * (3 + said) - 13]);
    const tooLong = await complete(url, key, { prompt: Array(101).fill(5) });
    expect([tooLong.status, ((await tooLong.json()) as { error: object }).error]).toEqual([
      413,
      expect.objectContaining({ code: 'request_too_large' }),
    ]);
  });

  it('refuse a WebSocket by a frame', async () => {
    const { url } = await bench.startGateway(
      {},
      { withKeys: true, limits: { requestsPerMinute: 1, tokensPerMinute: null } },
    );
    const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: await newKey('socket') });
    const { ResponsesWS } = await import('openai/resources/responses/ws');
    const socket = new ResponsesWS(client);
    const refused = new Promise((resolve) => {
      socket.on('error', (error) => resolve(error.error));
    });
    for (const input of ['a', 'b']) socket.send({ type: 'response.create', model, input });
    expect(await refused).toMatchObject({ error: { code: 'rate_limit_exceeded' } });
    socket.close();
  });

  it('give nothing back of a minute that is over', async () => {
    const limits = await RateLimits.open(bench.servers.redis.url, {
      requestsPerMinute: null,
      tokensPerMinute: 100,
    });
    const headers: Record<string, unknown> = {};
    const take = (output: number) =>
      limits.take('late', { prompt: 1, output }, (name, value) => {
        headers[name] = value;
      });
    const reservation = await take(49);
    await limits.refund('late', { ...reservation, until: Date.now() - 1 }, 0);
    await take(9);
    expect(headers['x-ratelimit-remaining-tokens']).toBe(40);
    await limits.refund('late', reservation, 0);
    await take(0);
    expect(headers['x-ratelimit-remaining-tokens']).toBe(89);
    await limits.close();
  });
});

describe("a tenant's generations", () => {
  it('are no more at once than it may have, and none of it counts for others', async () => {
    bench.script = waitForCancel;
    const { url } = await bench.startGateway({ tenantGenerations: 2 }, { withKeys: true });
    const [key, another] = [await newKey('busy'), await newKey('idle')];
    const leave = new AbortController();
    const running = await Promise.all([1, 2].map(() => complete(url, key, { stream: true }, leave.signal)));
    expect(running.map(({ status }) => status)).toEqual([200, 200]);
    const third = await complete(url, key);
    expect([third.status, Number(third.headers.get('retry-after'))]).toEqual([429, expect.any(Number)]);
    expect(await third.json()).toMatchObject({ error: { code: 'rate_limit_exceeded' } });
    expect((await complete(url, key, { n: 3, max_tokens: 1 })).status).toBe(429);
    const other = new AbortController();
    expect((await complete(url, another, { stream: true }, other.signal)).status).toBe(200);
    leave.abort();
    other.abort();
    bench.script = answer;
    // Cancelled ones leave their places as soon as their owner has met the cancel.
    while ((await complete(url, key)).status === 429);
  });
});

describe('the queue', () => {
  it('keeps nobody waiting longer than anybody waits', async () => {
    await bench.stopConsumer();
    const { client, url } = await bench.startGateway({ queueTimeoutMs: 100 });
    const refused = await client.completions
      .create({ model, prompt: 'a' })
      .then(() => null)
      .catch((error: unknown) => error);
    expect(refused).toMatchObject({ status: 503, error: { code: 'queue_timeout' } });
    expect((await bench.queue.counts()).waiting).toBe(0);
    const streamed = await complete(url, 'none', { stream: true });
    expect(await streamed.text()).toContain('"code":"queue_timeout"');

    // In the background nobody waits.
    const created = await client.responses.create({ model, input: 'hi', background: true });
    await new Promise((resolve) => setTimeout(resolve, 200));
    await bench.startConsumer();
    const events = await client.responses.retrieve(created.id, { stream: true });
    let text = '';
    for await (const event of events) if (event.type === 'response.output_text.delta') text += event.delta;
    expect(text).toBe(answerText);
  });

  it('refuses who would wait too long, by how many go before it, and says when to come again', async () => {
    await bench.stopConsumer();
    const heartbeat = await Heartbeat.start(bench.servers.nats.url);
    const worker: WorkerStatus = {
      ...{ v: 1, worker: 'w', pid: 1, host: 'h', state: 'running', device: 'cpu' },
      ...{ model, fingerprint: 'f', slots: 2, generations: [] },
    };
    const redis = new Redis(bench.servers.redis.url);
    await redis.del(serviceTimesKey);
    await redis.lpush(serviceTimesKey, 1000, 3000);
    redis.disconnect();
    const { url } = await bench.startGateway({ queueTimeoutMs: 5000 }, { withKeys: true });
    heartbeat.say(worker);
    while (!(await heard(url)));
    // Two slots, two seconds each: the tenth that waits would come in after eight seconds or more.
    const jobs = Array.from({ length: 9 }, () => exampleJob({ id: newId('resp', 'crowd'), tenant: 'crowd' }));
    for (const job of jobs) await bench.queue.add(job);
    const refused = await complete(url, await newKey('crowd'));
    expect(refused.status).toBe(503);
    expect(await refused.json()).toMatchObject({ error: { code: 'overloaded' } });
    // Nine and itself, less the two that find a free slot, at one a second, less the five seconds that it may wait.
    expect(refused.headers.get('retry-after-ms')).toBe('3000');
    // Another tenant has one before it, and two slots.
    const leave = new AbortController();
    const other = await complete(url, await newKey('lonely'), { stream: true }, leave.signal);
    expect(other.status).toBe(200);
    leave.abort();
    for (const job of jobs) await bench.queue.remove(job);
    await heartbeat.stop({ ...worker, state: 'stopped' });
    await bench.startConsumer();
  });

  it('leaves a generation alone that a worker has begun', async () => {
    const job = exampleJob({ id: newId('resp', 'default') });
    const { writer } = await bench.log.claim(job, 'worker-1');
    const failure = { code: 'queue_timeout', message: 'late' } as const;
    expect(await bench.log.failUnclaimed(job.id, failure)).toBe(false);
    await writer?.append({ kind: 'tokens', tokens: [1], text: 'a' });
    expect((await bench.log.read(job.id))?.text).toBe('a');
  });
});
