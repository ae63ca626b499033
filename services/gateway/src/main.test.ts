import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { connect } from 'node:net';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { OtlpReceiver } from '@baton/testing/otlp-receiver';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { WebSocket } from 'ws';
import { modelDir } from './testing/log-script.ts';
import { answer, answerText, waitForCancel } from './testing/scripts.ts';
import { TestBench } from './testing/test-bench.ts';

let bench: TestBench;
const running: ChildProcess[] = [];

beforeAll(async () => {
  bench = await TestBench.start();
});
afterAll(() => bench.stop());
afterEach(() => {
  for (const child of running.splice(0)) child.kill('SIGKILL');
});

/** Starts the gateway as a process, with only the environment that it is given. */
function start(env: Record<string, string> = {}) {
  const child = spawn(process.execPath, [fileURLToPath(new URL('./main.ts', import.meta.url))], {
    env: {
      BATON_REDIS_URL: bench.servers.redis.url,
      BATON_NATS_URL: bench.servers.nats.url,
      BATON_PORT: '0',
      BATON_MODEL: modelDir,
      ...env,
    },
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
  });
  running.push(child);
  const output: string[] = [];
  const ready = Promise.withResolvers<{ url: string; model: string; msg: string }>();
  if (child.stdout) {
    createInterface(child.stdout).on('line', (line) => {
      output.push(line);
      const entry = JSON.parse(line);
      if (String(entry.msg).startsWith('ready')) ready.resolve(entry);
    });
  }
  child.stderr?.on('data', (data) => output.push(String(data)));
  const exited = once(child, 'exit').then(([code]) => Number(code));
  return { child, ready: ready.promise, exited, output };
}

function post(url: string, body: unknown, headers: Record<string, string> = {}): Promise<Response> {
  return fetch(`${url}/v1/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: JSON.stringify(body),
  });
}

const chat = { model: 'hymba-tiny-stories', messages: [{ role: 'user', content: 'a secret thing' }] };

describe('the gateway process', () => {
  it('says in one line when it is ready, and nothing of what its clients say', async () => {
    const { child, ready, exited, output } = start({ BATON_LOG_LEVEL: 'trace' });
    const { url, model, msg } = await ready;
    expect([model, msg]).toEqual(['hymba-tiny-stories', expect.stringContaining('loopback only')]);
    expect((await fetch(`${url}/readyz`)).status).toBe(200);
    expect((await post(url, chat, { authorization: 'Bearer sk-hidden' })).status).toBe(200);
    child.kill('SIGTERM');
    expect(await exited).toBe(0);
    expect(output.join('\n')).not.toMatch(/secret thing|sk-hidden/);
  });

  it('lets a stream end before it stops', async () => {
    const release = Promise.withResolvers<void>();
    bench.script = async (job, writer, tokenizer) => {
      await release.promise;
      await answer(job, writer, tokenizer);
    };
    const { child, ready, exited, output } = start();
    const { url } = await ready;
    const response = await post(url, { ...chat, stream: true });
    child.kill('SIGTERM');
    while (!output.some((line) => line.includes('stopping'))) await once(child.stdout ?? child, 'data');
    release.resolve();
    const text = await response.text();
    expect(text.endsWith('data: [DONE]\n\n')).toBe(true);
    expect(await exited).toBe(0);
    bench.script = answer;
  });

  it('gives a stream up that takes too long, cancels it, and does not let it look complete', async () => {
    const started = Promise.withResolvers<string>();
    bench.script = async (job, writer, tokenizer) => {
      started.resolve(job.id);
      await waitForCancel(job, writer, tokenizer);
    };
    const { child, ready, exited } = start({ BATON_SHUTDOWN_TIMEOUT: '0', BATON_DISCONNECT_GRACE: '0' });
    const { url } = await ready;
    const response = await post(url, { ...chat, stream: true });
    child.kill('SIGTERM');
    await expect(response.text()).rejects.toThrow();
    expect(await exited).toBe(0);
    const state = await bench.log.read(await started.promise);
    expect(state?.cancelRequested).toBe(true);
    bench.script = answer;
  });

  it('stops when whoever started it is gone', async () => {
    const { child, ready, exited } = start();
    await ready;
    child.disconnect();
    expect(await exited).toBe(0);
  });

  it.each([
    ['BATON_REDIS_URL', { BATON_REDIS_URL: '' }],
    ['BATON_PORT', { BATON_PORT: 'x' }],
    ['BATON_AUTH=keys', { BATON_HOST: '0.0.0.0' }],
    ['NATS at nats://127.0.0.1:1', { BATON_NATS_URL: 'nats://127.0.0.1:1' }],
    ['Redis at 127.0.0.1:1', { BATON_REDIS_URL: 'redis://127.0.0.1:1' }],
    ['BATON_SNAPSHOT_STORE=file://x/y', { BATON_SNAPSHOT_STORE: 'file://x/y' }],
    ['BATON_SNAPSHOT_STORE=s3://', { BATON_SNAPSHOT_STORE: 's3://' }],
    ['/nowhere/config.json', { BATON_MODEL: '/nowhere' }],
  ])('says in one line what is wrong with %s', async (named, env) => {
    const { exited, output } = start(env);
    expect(await exited).toBe(1);
    expect(output.join('').trim().split('\n')).toEqual([expect.stringContaining(named)]);
  });

  it('asks for keys where it is told to, and notes whom it refused, as proxies that it trusts tell it', async () => {
    const { ready, output } = start({
      BATON_AUTH: 'keys',
      BATON_HOST: '0.0.0.0',
      BATON_TRUSTED_PROXIES: '127.0.0.0/8',
    });
    const { url, msg } = await ready;
    expect(msg).toBe('ready; clients need API keys');
    const asked = { authorization: 'Bearer sk-wrong', 'x-forwarded-for': '203.0.113.9' };
    expect((await post(url, chat, asked)).status).toBe(401);
    const { key } = await bench.keys.create({ tenant: 'acme', scopes: ['inference'], name: '' });
    expect((await post(url, chat, { authorization: `Bearer ${key}` })).status).toBe(200);
    while (!output.some((line) => line.includes('refused'))) await new Promise(setImmediate);
    const [refusal] = output.filter((line) => line.includes('refused')).map((line) => JSON.parse(line));
    expect(refusal).toMatchObject({ ip: '203.0.113.9', code: 'invalid_api_key' });
    expect(output.join('')).not.toMatch(/sk-wrong|sk-baton/);
  });

  it('begins without its snapshot store, and says so', async () => {
    const { child, ready, exited, output } = start({ BATON_SNAPSHOT_STORE: 'redis://127.0.0.1:1' });
    const { url } = await ready;
    expect((await post(url, chat)).status).toBe(200);
    const [warning] = output
      .filter((line) => line.includes('snapshot store'))
      .map((line) => JSON.parse(line));
    expect(warning).toMatchObject({ err: { code: 'dependency_unavailable' } });
    child.kill('SIGTERM');
    expect(await exited).toBe(0);
  });

  it('names a port that is taken', async () => {
    const { ready } = start();
    const { port } = new URL((await ready).url);
    const second = start({ BATON_PORT: port });
    expect(await second.exited).toBe(1);
    expect(second.output.join('')).toContain(`BATON_PORT=${port} is taken`);
  });

  it("continues the client's trace", async () => {
    const receiver = await OtlpReceiver.start();
    const { child, ready, exited } = start(receiver.env);
    const { url } = await ready;
    const traceId = 'a'.repeat(32);
    const response = await post(url, chat, { traceparent: `00-${traceId}-${'b'.repeat(16)}-01` });
    expect(JSON.stringify(await response.json())).toContain(answerText);
    child.kill('SIGTERM');
    expect(await exited).toBe(0);

    const spans = receiver.spans.filter((span) => span.traceId === traceId);
    const server = spans.find(({ name }) => name === 'POST /v1/chat/completions');
    expect(server).toMatchObject({ kind: 'server', parentSpanId: 'b'.repeat(16) });
    for (const name of ['validate', 'enqueue', 'deliver']) {
      expect(spans.find((span) => span.name === name)?.parentSpanId, name).toBe(server?.spanId);
    }
    await receiver.stop();
  });

  it('tells of each refusal and each failure in the log, in the metrics and on the span', async () => {
    const receiver = await OtlpReceiver.start();
    const { child, ready, exited, output } = start({
      ...receiver.env,
      OTEL_METRICS_EXPORTER: 'prometheus',
      OTEL_EXPORTER_PROMETHEUS_HOST: '127.0.0.1',
      OTEL_EXPORTER_PROMETHEUS_PORT: '0',
    });
    const { url } = await ready;
    bench.script = async (_, writer) => {
      await writer.append({ kind: 'error', code: 'server_error', message: 'it broke' });
    };
    expect((await post(url, { ...chat, model: 'another' })).status).toBe(404);
    expect(await (await post(url, { ...chat, stream: true })).text()).toContain('it broke');
    const response = { model: chat.model, input: 'a secret thing', stream: true };
    const headers = { 'content-type': 'application/json' };
    const failing = await fetch(`${url}/v1/responses`, {
      method: 'POST',
      headers,
      body: JSON.stringify(response),
    });
    expect(await failing.text()).toContain('response.failed');
    const socket = new WebSocket(`${url.replace('http', 'ws')}/v1/responses`);
    await once(socket, 'open');
    socket.send(JSON.stringify({ type: 'response.create', model: 'another', input: 'a secret thing' }));
    expect(String((await once(socket, 'message'))[0])).toContain('model_not_found');
    socket.close();
    const noRequest = connect(Number(new URL(url).port), '127.0.0.1');
    noRequest.end('no request\r\n\r\n');
    await once(noRequest.resume(), 'close');

    const page = await (await fetch(`${url}/metrics`)).text();
    const rejections = [...page.matchAll(/^baton_rejections_total\{.*error_type="(\w+)".*\} (\d+)/gm)];
    const counted = rejections.map(([, code, times]) => [code, Number(times)] as const);
    expect(Object.fromEntries(counted.filter(([, times]) => times > 0))).toEqual({
      model_not_found: 2,
      server_error: 2,
      invalid_request: 1,
    });
    child.kill('SIGTERM');
    expect(await exited).toBe(0);
    bench.script = answer;

    const lines = output.map((line) => JSON.parse(line) as Record<string, unknown>);
    const told = lines.filter(({ code }) => code !== undefined);
    const requests = receiver.spans.filter(({ kind }) => kind === 'server');
    expect(told.map(({ code }) => code)).toEqual([
      'model_not_found',
      'server_error',
      'server_error',
      'model_not_found',
      'invalid_request',
    ]);
    expect(
      requests.map(({ name, status, attributes }) => [name, status, attributes['http.response.status_code']]),
    ).toEqual([
      ['POST /v1/chat/completions', 'unset', 404],
      ['POST /v1/chat/completions', 'error', 200],
      ['POST /v1/responses', 'error', 200],
      ['WebSocket response.create', 'unset', undefined],
    ]);
    expect(told.map((line) => line['trace_id'])).toEqual([
      ...requests.map(({ traceId }) => traceId),
      undefined,
    ]);
    expect(told[1]).toMatchObject({ generations: [expect.stringContaining('chatcmpl_')] });
    await receiver.stop();
  });

  it('says on the span of each request that comes back to a response which one it is, with a link to the first', async () => {
    const receiver = await OtlpReceiver.start();
    const { child, ready, exited } = start({ ...receiver.env });
    const { url } = await ready;
    const traces = { first: 'a'.repeat(32), later: 'b'.repeat(32) };
    const ask = async (path: string, trace: keyof typeof traces, init: RequestInit = {}) => {
      const traceparent = `00-${traces[trace]}-${'c'.repeat(16)}-01`;
      const type = init.body ? { 'content-type': 'application/json' } : {};
      const headers = { ...type, 'idempotency-key': path, traceparent };
      const response = await fetch(`${url}/v1/${path}`, { headers, ...init });
      expect(response.status).toBe(200);
      return { text: await response.text(), traceparent };
    };
    const post = (body: object) => ({ method: 'POST', body: JSON.stringify(body) });
    // Whoever appends entry 0 says whose trace it is, and the scripted worker is in none.
    const background = post({ model: chat.model, input: 'x', background: true });
    await bench.stopConsumer();
    const created = await ask('responses', 'first', background).finally(() => bench.startConsumer());
    const completed = await ask('chat/completions', 'first', post(chat));
    const [id, completion] = [created, completed].map(({ text }) => String(JSON.parse(text).id));

    await ask('responses', 'later', background);
    await ask('chat/completions', 'later', post(chat));
    await ask(`responses/${id}`, 'later');
    await ask(`responses/${id}?stream=true`, 'later');
    await ask(`responses/${id}/input_items`, 'later');
    const socket = new WebSocket(`${url.replace('http', 'ws')}/v1/responses?response_id=${id}`, {
      headers: { traceparent: created.traceparent.replace(traces.first, traces.later) },
    });
    await once(socket, 'message');
    socket.close();
    await ask(`responses/${id}/cancel`, 'later', post({}));
    await ask(`responses/${id}`, 'later', { method: 'DELETE' });
    child.kill('SIGTERM');
    expect(await exited).toBe(0);

    const servers = receiver.spans.filter(({ kind }) => kind === 'server');
    const returns = servers.filter(({ traceId }) => traceId === traces.later);
    expect(returns.map(({ name }) => name).toSorted()).toEqual([
      'DELETE /v1/responses/:id',
      'GET /v1/responses/:id',
      'GET /v1/responses/:id',
      'GET /v1/responses/:id/input_items',
      'POST /v1/chat/completions',
      'POST /v1/responses',
      'POST /v1/responses/:id/cancel',
      'WebSocket resume',
    ]);
    for (const { name, attributes, links } of returns) {
      expect(attributes, name).toMatchObject({
        'gen_ai.response.id': name.includes('chat') ? completion : id,
        'gen_ai.response.model': chat.model,
        'gen_ai.request.model': chat.model,
      });
      if (!name.includes('chat'))
        expect(links, name).toEqual([
          {
            traceId: traces.first,
            spanId: expect.any(String),
            attributes: { 'baton.link': 'first_request' },
          },
        ]);
    }
    await receiver.stop();
  });

  it('says that its telemetry cannot be sent', async () => {
    const receiver = await OtlpReceiver.start();
    // Which refuses the protocol that is the default.
    const { child, ready, exited, output } = start({ OTEL_EXPORTER_OTLP_ENDPOINT: receiver.endpoint });
    const { url } = await ready;
    expect((await post(url, chat)).status).toBe(200);
    child.kill('SIGTERM');
    expect(await exited).toBe(0);
    const told = output
      .map((line) => String(JSON.parse(line).msg))
      .filter((line) => /cannot be sent/.test(line));
    expect(told.toSorted()).toEqual(
      ['metrics', 'traces'].map((signal) => `${signal} cannot be sent; they are lost until they can`),
    );
    await receiver.stop();
  });

  it('counts a generation that no worker began', async () => {
    await bench.stopConsumer();
    try {
      const { child, ready, exited } = start({
        OTEL_METRICS_EXPORTER: 'prometheus',
        OTEL_EXPORTER_PROMETHEUS_HOST: '127.0.0.1',
        OTEL_EXPORTER_PROMETHEUS_PORT: '0',
        BATON_QUEUE_TIMEOUT: '1',
      });
      const { url } = await ready;
      expect((await post(url, chat)).status).toBe(503);
      const page = await (await fetch(`${url}/metrics`)).text();
      expect(page).toMatch(/^baton_generations_total\{.*baton_outcome="queue_timeout".*\} 1/m);
      child.kill('SIGTERM');
      expect(await exited).toBe(0);
    } finally {
      await bench.startConsumer();
    }
  });

  it.each([false, true])(
    'shows prompts and answers in traces only where it may (%s), and keys never',
    async (capture) => {
      const receiver = await OtlpReceiver.start();
      const env = { ...receiver.env, BATON_CAPTURE_CONTENT: String(capture), BATON_LOG_LEVEL: 'trace' };
      const { child, ready, exited, output } = start(env);
      const { url } = await ready;
      const secret = { authorization: 'Bearer sk-hidden', 'content-type': 'application/json' };
      await (await post(url, chat, secret)).text();
      const ask = (body: object) =>
        fetch(`${url}/v1/responses`, {
          method: 'POST',
          headers: secret,
          body: JSON.stringify({ model: chat.model, ...body }),
        });
      await (await ask({ input: 'a secret thing' })).text();
      for (const body of [
        { input: 'a secret thing', colour: 1 },
        { input: [{ role: 'user', content: 7 }] },
      ]) {
        expect((await ask(body)).status).toBe(400);
      }
      await fetch(`${url}/v1/responses?a secret thing`);
      const socket = new WebSocket(`${url.replace('http', 'ws')}/v1/responses`, [
        'openai-insecure-api-key.sk-hidden',
        'realtime',
      ]);
      await once(socket, 'open');
      socket.send(JSON.stringify({ type: 'response.create', model: chat.model, input: 'a secret thing' }));
      await new Promise<void>((resolve) => {
        socket.on('message', (data) => {
          if (String(data).includes('response.completed')) resolve();
        });
      });
      socket.close();
      child.kill('SIGTERM');
      expect(await exited).toBe(0);

      const traces = JSON.stringify(receiver.spans);
      expect(traces).toContain('POST /v1/responses');
      expect([traces.includes('a secret thing'), traces.includes(answerText)]).toEqual([capture, capture]);
      expect(traces + output.join('\n')).not.toContain('sk-hidden');
      expect(output.join('\n')).not.toContain('a secret thing');
      await receiver.stop();
    },
  );
});
