import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { answer, answerText, waitForCancel } from './testing/scripts.ts';
import { type RunningGateway, TestBench } from './testing/test-bench.ts';

let bench: TestBench;
let gateway: RunningGateway;

beforeAll(async () => {
  bench = await TestBench.start();
  gateway = await bench.startGateway({ bodyLimit: 2048, queueLimit: 2 });
});
afterAll(() => bench.stop());
beforeEach(() => {
  bench.script = answer;
});

function request(path: string, init: RequestInit = {}): Promise<Response> {
  return fetch(gateway.url + path, init);
}

function post(path: string, body: unknown): Promise<Response> {
  return request(path, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: typeof body === 'string' ? body : JSON.stringify(body),
  });
}

const model = 'hymba-tiny-stories';

describe('models', () => {
  it('lists the one that is served', async () => {
    const list = (await (await request('/v1/models')).json()) as { data: unknown[] };
    expect(list).toMatchObject({ object: 'list', data: [{ id: model, object: 'model', owned_by: 'baton' }] });
    expect(await (await request(`/v1/models/${model}`)).json()).toEqual(list.data[0]);
  });
});

describe('errors', () => {
  it.each<[string, () => Promise<Response>, number, string, string | null]>([
    ['an unknown route', () => request('/v1/nothing'), 404, 'route_not_found', null],
    ['a wrong method', () => request('/v1/chat/completions'), 404, 'route_not_found', null],
    ['an unknown model', () => request('/v1/models/gpt'), 404, 'model_not_found', 'model'],
    ['an unknown response', () => request('/v1/responses/resp_1'), 404, 'response_not_found', 'response_id'],
    ['a broken URL', () => request('/v1/models/%ff'), 400, 'invalid_request', null],
    ['text that is not JSON', () => post('/v1/completions', '{"model"'), 400, 'invalid_json', null],
    [
      'JSON that is nested too deep',
      () => post('/v1/responses', `{"model":"${model}","input":${'['.repeat(300)}${']'.repeat(300)}}`),
      400,
      'invalid_json',
      null,
    ],
    ['no body', () => post('/v1/completions', ''), 400, 'invalid_json', null],
    [
      'another content type',
      () => request('/v1/completions', { method: 'POST', body: 'hi' }),
      415,
      'unsupported_media_type',
      null,
    ],
    [
      'a large body',
      () => post('/v1/completions', { prompt: 'a'.repeat(4000) }),
      413,
      'request_too_large',
      null,
    ],
    ['a socket without an upgrade', () => request('/v1/responses'), 400, 'invalid_request', null],
    [
      "somebody else's model",
      () => post('/v1/completions', { model: 'gpt', prompt: 'a' }),
      404,
      'model_not_found',
      'model',
    ],
    [
      'more than the context holds',
      () => post('/v1/completions', { model, prompt: 'a', max_tokens: 5000 }),
      400,
      'context_length_exceeded',
      'max_tokens',
    ],
    [
      'a token id that is none',
      () => post('/v1/completions', { model, prompt: [1, 2048] }),
      400,
      'invalid_value',
      'prompt[1]',
    ],
    [
      'more minimum than maximum',
      () => post('/v1/completions', { model, prompt: 'a', max_tokens: 2, min_tokens: 3 }),
      400,
      'invalid_value',
      'min_tokens',
    ],
    [
      'a bias for no token',
      () => post('/v1/completions', { model, prompt: 'a', logit_bias: { 9999: 1 } }),
      400,
      'invalid_value',
      'logit_bias.9999',
    ],
    [
      'a reference to nothing',
      () => post('/v1/responses', { model, input: [{ id: 'msg_1', type: 'item_reference' }] }),
      400,
      'invalid_value',
      'input[0].id',
    ],
  ])('answer %s alike', async (_, send, status, code, param) => {
    const response = await send();
    expect(response.status).toBe(status);
    expect(response.headers.get('x-request-id')).toMatch(/^req_[0-9a-f]{32}$/);
    expect(await response.json()).toEqual({
      error: { message: expect.any(String), type: 'invalid_request_error', param, code },
    });
  });

  it('says which method a path answers', async () => {
    expect((await request('/v1/chat/completions')).headers.get('allow')).toBe('POST');
  });

  it('refuses more than may wait, and says when to come back', async () => {
    const response = await post('/v1/completions', { model, prompt: ['a', 'b', 'c'] });
    expect(response.status).toBe(503);
    expect(response.headers.get('retry-after')).toBe('1');
    expect(response.headers.get('retry-after-ms')).toBe('1000');
    expect(await response.json()).toMatchObject({ error: { type: 'server_error', code: 'overloaded' } });
  });
});

describe('streams', () => {
  it('are server-sent events that nobody holds back', async () => {
    const response = await post('/v1/completions', { model, prompt: 'a', stream: true });
    expect(Object.fromEntries(response.headers)).toMatchObject({
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'no-cache, no-transform',
      'x-accel-buffering': 'no',
      'x-request-id': expect.stringMatching(/^req_/),
    });
    const text = await response.text();
    expect(text.endsWith('data: [DONE]\n\n')).toBe(true);
  });

  it('keep an idle connection alive with comments', async () => {
    bench.script = waitForCancel;
    const patient = await bench.startGateway({ keepAliveMs: 10 });
    const leave = new AbortController();
    const response = await fetch(`${patient.url}/v1/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ model, prompt: 'a', stream: true }),
      signal: leave.signal,
    });
    let seen = '';
    for await (const chunk of response.body ?? []) {
      seen += new TextDecoder().decode(chunk);
      if (seen.includes(': keep-alive\n\n')) break;
    }
    leave.abort();
    expect(seen).toContain(': keep-alive\n\n');
  });
});

describe('health', () => {
  it('is ready while its servers answer, and says which one does not', async () => {
    expect((await request('/healthz')).status).toBe(200);
    const ready = await request('/readyz');
    expect([ready.status, await ready.json()]).toEqual([200, { status: 'ready', missing: [], model }]);

    await bench.servers.redis.kill('SIGSTOP');
    const unavailable = await request('/readyz');
    await bench.servers.redis.kill('SIGCONT');
    expect([unavailable.status, await unavailable.json()]).toEqual([
      503,
      { status: 'unavailable', missing: ['redis'], model },
    ]);
  });
});

describe('generations', () => {
  it('are put back when the queue has lost them and somebody waits', async () => {
    await bench.stopConsumer();
    const quick = await bench.startGateway({ stalledAfterMs: 50, sweepEveryMs: 3_600_000 });
    const created = await quick.client.responses.create({ model, input: 'hi', background: true });
    const response = quick.client.responses.retrieve(created.id, { stream: true });
    const events: { type: string }[] = [];
    const reading = (async () => {
      for await (const event of await response) events.push(event);
    })();
    expect(await bench.queue.remove({ id: created.id, tenant: 'default' })).toBe(true);
    await bench.startConsumer();
    await reading;
    expect(events.at(-1)).toMatchObject({
      type: 'response.completed',
      response: { output: [{ content: [{ text: answerText }] }] },
    });
  });

  it('are put back when the queue has lost them and nobody waits, also after NATS was away', async () => {
    const own = await TestBench.start();
    await own.stopConsumer();
    const { client } = await own.startGateway({ sweepEveryMs: 50 });
    await own.servers.nats.restart();
    const created = await client.responses.create({ model, input: 'hi', background: true });
    expect(await own.queue.remove({ id: created.id, tenant: 'default' })).toBe(true);
    await expect.poll(() => own.queue.has(created.id)).toBe(true);
    await own.startConsumer();
    await expect
      .poll(() => client.responses.retrieve(created.id))
      .toMatchObject({ status: 'completed', output_text: answerText });
    await own.stop();
  });
});
