import { mkdtemp, rm } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { DependencyError } from '@baton/errors';
import { queueName, redisPrefix } from '@baton/protocol';
import { DiskStore } from '@baton/snapshot/disk-store';
import { Redis } from 'ioredis';
import { afterAll, beforeAll, beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { WebSocket } from 'ws';
import type { GatewaySettings } from './gateway.ts';
import { answer, answerText, waitForCancel } from './testing/scripts.ts';
import { type RunningGateway, TestBench } from './testing/test-bench.ts';

let bench: TestBench;
let gateway: RunningGateway;
beforeAll(async () => {
  bench = await TestBench.start();
  gateway = await bench.startGateway();
});
afterAll(() => bench?.stop());
beforeEach(() => {
  bench.script = answer;
});

const model = 'hymba-tiny-stories';
const terminalOf = async (id: string) => (await bench.log.read(id))?.terminal;
const once = async (id: string) => {
  await expect.poll(() => terminalOf(id), { timeout: 10_000 }).toBeTruthy();
  return terminalOf(id);
};

/** A gateway beside workers that store states, and the store. */
async function startStoringGateway(settings: Partial<GatewaySettings> = {}) {
  const folder = await mkdtemp(join(tmpdir(), 'baton-snapshots-'));
  onTestFinished(() => rm(folder, { recursive: true, maxRetries: 10 }));
  const store = new DiskStore(folder, { ttlSeconds: 60, quotaBytes: 1e9, totalBytes: 1e9 });
  return { ...(await bench.startGateway(settings, { snapshots: store })), store };
}
const state = { bytes: new Uint8Array(8), pages: [] };

describe('an idempotency key', () => {
  const post = (path: string, body: object, key: string, url = gateway.url) =>
    fetch(`${url}/v1/${path}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'idempotency-key': key },
      body: JSON.stringify({ model, ...body }),
    });

  it.each([
    ['chat/completions', { messages: [{ role: 'user', content: 'hi' }], n: 2 }],
    ['completions', { prompt: ['a', 'b'] }],
    ['responses', { input: 'hi' }],
  ])('gives the first one its generation again: %s', async (path, body) => {
    let runs = 0;
    bench.script = async (job, writer, tokenizer) => {
      runs++;
      await answer(job, writer, tokenizer);
    };
    const other = await bench.startGateway();
    const key = `finished ${path}`;
    const first = await (await post(path, body, key)).json();
    expect(await (await post(path, body, key, other.url)).json()).toEqual(first);
    expect(runs).toBe(path === 'responses' ? 1 : 2);
  });

  it('follows a generation that still runs, also where the two come at once', async () => {
    const release = Promise.withResolvers<void>();
    const ran = new Set<string>();
    bench.script = async (job, writer, tokenizer) => {
      ran.add(job.id);
      await release.promise;
      await answer(job, writer, tokenizer);
    };
    const other = await bench.startGateway();
    const body = { input: 'hi', stream: true };
    const streams = await Promise.all(
      [gateway, other, gateway].map(({ url }) => post('responses', body, 'live', url)),
    );
    release.resolve();
    const [first, ...others] = await Promise.all(streams.map((stream) => stream.text()));
    expect(first).toContain('event: response.completed');
    for (const text of others) expect(text).toBe(first);
    expect(ran.size).toBe(1);
  });

  it('belongs to one request', async () => {
    await post('responses', { input: 'hi' }, 'mine');
    const refused = await post('responses', { input: 'ho' }, 'mine');
    expect([refused.status, await refused.json()]).toEqual([
      422,
      {
        error: {
          type: 'invalid_request_error',
          code: 'idempotency_key_reused',
          param: 'Idempotency-Key',
          message: expect.any(String),
        },
      },
    ]);
    expect((await post('responses', { input: 'hi' }, 'x'.repeat(300))).status).toBe(400);
  });
});

describe('a client that goes away', () => {
  const unstored = async (url: string, beforeItLeaves = async (_: string) => {}) => {
    const leave = new AbortController();
    const response = await fetch(`${url}/v1/responses`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ model, input: 'hi', store: false, stream: true }),
      signal: leave.signal,
    });
    let text = '';
    for await (const chunk of response.body ?? []) {
      text += new TextDecoder().decode(chunk);
      if (text.includes('output_text.delta')) break;
    }
    const id = text.match(/resp_[0-9a-f]{32}/)?.[0] ?? '';
    await beforeItLeaves(id);
    leave.abort();
    return id;
  };

  it('may come back within the grace period, on another gateway, and then nothing is cancelled', async () => {
    const release = Promise.withResolvers<void>();
    bench.script = async (job, writer, tokenizer) => {
      await writer.append({ kind: 'tokens', tokens: [77], text: 'Well, ' });
      await release.promise;
      await answer(job, writer, tokenizer);
    };
    const graceMs = 300;
    const left = await bench.startGateway({ disconnectGraceMs: graceMs });
    const id = await unstored(left.url);
    const other = await bench.startGateway();
    const stream = await other.client.responses.retrieve(id, { stream: true });
    await delay(2 * graceMs);
    release.resolve();
    let said = '';
    for await (const event of stream) if (event.type === 'response.output_text.delta') said += event.delta;
    expect(said).toBe(`Well, ${answerText}`);
  });

  it('is waited for, and then what nobody could read again is cancelled', async () => {
    bench.script = waitForCancel;
    const id = await unstored(gateway.url);
    expect(await once(id)).toMatchObject({ kind: 'finish', reason: 'cancelled' });
  });

  it('leaves no state of what it had begun, where that is cancelled while no worker has it', async () => {
    bench.script = async (_, writer) => {
      await writer.append({ kind: 'tokens', tokens: [77], text: 'Well, ' });
      throw new DependencyError('nats', 'the worker is cut off');
    };
    const { url, store } = await startStoringGateway();
    const id = await unstored(url, async (id) => {
      await bench.stopConsumer();
      await store.putManifest('default', id, state, null);
    });
    expect(await once(id)).toMatchObject({ kind: 'finish', reason: 'cancelled' });
    await expect.poll(() => store.getManifest('default', id)).toBeNull();
    await bench.startConsumer();
  });
});

describe('a generation that the queue refuses', () => {
  it('fails, and leaves no state of what its owners had stored', async () => {
    await bench.stopConsumer();
    const { client, store } = await startStoringGateway({ stalledAfterMs: 50 });
    const { id } = await client.responses.create({ model, input: 'hi', background: true });
    await store.putManifest('default', id, state, null);
    const redis = new Redis(bench.servers.redis.url);
    await redis.hset(`${redisPrefix}:${queueName}:${id}`, 'data', '{"v":1}');
    redis.disconnect();
    await bench.startConsumer();
    const stream = await client.responses.retrieve(id, { stream: true });
    const events: { type: string }[] = [];
    for await (const event of stream) events.push(event);
    expect(events.at(-1)).toMatchObject({ type: 'response.failed' });
    await expect.poll(() => store.getManifest('default', id)).toBeNull();
  });
});

/** Says more than any buffer holds. */
const piece = 'a'.repeat(80_000);
const pieces = 150;
async function sayMuch(...[job, writer]: Parameters<typeof answer>): Promise<void> {
  for (let i = 0; i < pieces; i++) await writer.append({ kind: 'tokens', tokens: [i], text: piece });
  const usage = { prompt_tokens: job.prompt.length, cached_tokens: 0, completion_tokens: pieces };
  await writer.append({ kind: 'finish', reason: 'stop', usage });
}

describe('a client that does not read', () => {
  it('is sent an event stream as fast as it takes it, out of the log', async () => {
    const said = Promise.withResolvers<void>();
    bench.script = async (job, writer, tokenizer) => {
      await sayMuch(job, writer, tokenizer);
      said.resolve();
    };
    const slow = await bench.startGateway();
    const served: Socket[] = [];
    slow.server.app.server.on('connection', (socket) => served.push(socket));
    const client = connect(Number(new URL(slow.url).port), '127.0.0.1').setEncoding('latin1');
    const body = JSON.stringify({ model, input: 'hi', stream: true });
    const head = `POST /v1/responses HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: ${body.length}`;
    client.write(`${head}\r\n\r\n${body}`);
    await said.promise;
    expect(served[0]?.writableLength).toBeLessThan(3 * piece.length);

    let received = '';
    for await (const text of client) {
      received += text;
      if (text.endsWith('0\r\n\r\n')) break;
    }
    expect(received.split('event: response.output_text.delta').length - 1).toBe(pieces);
    expect(received).toContain('event: response.completed');
  });

  it('is not read from either', async () => {
    const socket = new WebSocket(`${gateway.url.replace('http', 'ws')}/v1/responses`);
    await new Promise((resolve) => socket.once('open', resolve));
    socket.pause();
    // Answered with as much.
    const steer = JSON.stringify({ type: 'response.steer', input: 'x'.repeat(50_000) });
    for (let i = 0; i < 1000; i++) socket.send(steer);
    const served = () => [...gateway.server.app.websocketServer.clients];
    await expect.poll(() => served().some(({ isPaused }) => isPaused), { timeout: 10_000 }).toBe(true);
    expect(Math.max(...served().map(({ bufferedAmount }) => bufferedAmount))).toBeLessThan(1024 * 1024);
    socket.terminate();
  });

  it('is let go where it does not even answer a ping', async () => {
    const impatient = await bench.startGateway({ keepAliveMs: 50 });
    const socket = new WebSocket(`${impatient.url.replace('http', 'ws')}/v1/responses`, { autoPong: false });
    const closed = new Promise<number>((resolve) => socket.once('close', resolve));
    expect(await closed).toBe(1006);
  });
});

describe('too many sockets', () => {
  it('are sent elsewhere, compressed they never are', async () => {
    const small = await bench.startGateway({ socketLimit: 1 });
    const open = () => new WebSocket(`${small.url.replace('http', 'ws')}/v1/responses`);
    const first = open();
    await new Promise((resolve) => first.once('open', resolve));
    expect(first.extensions).toBe('');
    const second = open();
    expect(await new Promise((resolve) => second.once('close', resolve))).toBe(1013);
    first.close();
  });

  it.each([
    [{ tenantStreams: 1 }, 429, 'rate_limit_exceeded'],
    [{ socketLimit: 1 }, 503, 'overloaded'],
  ])(
    'are counted together with event streams, which are refused before they begin: %o',
    async (limits, status, code) => {
      const small = await bench.startGateway(limits);
      const ask = (path: string, body?: object) =>
        fetch(`${small.url}/v1/${path}`, {
          ...(body && { method: 'POST', body: JSON.stringify({ model, ...body }) }),
          headers: { 'content-type': 'application/json' },
        });
      const { id } = (await (await ask('responses', { input: 'hi' })).json()) as { id: string };
      const streams: [string, object?][] = [
        [`responses/${id}?stream=true`],
        ['responses', { input: 'hi', stream: true }],
        ['completions', { prompt: 'hi', stream: true }],
        ['chat/completions', { messages: [{ role: 'user', content: 'hi' }], stream: true }],
      ];
      const socket = new WebSocket(`${small.url.replace('http', 'ws')}/v1/responses`);
      await new Promise((resolve) => socket.once('open', resolve));
      let runs = 0;
      bench.script = async (...given) => {
        runs++;
        await answer(...given);
      };
      for (const stream of streams) {
        const refused = await ask(...stream);
        expect([refused.status, await refused.json()]).toMatchObject([status, { error: { code } }]);
      }
      expect(runs).toBe(0);
      // What is no stream needs no place.
      expect((await ask('completions', { prompt: 'hi' })).status).toBe(200);
      socket.close();
      for (const stream of streams) {
        await expect
          .poll(async () => {
            const answered = await ask(...stream);
            await answered.text();
            return answered.status;
          })
          .toBe(200);
      }
    },
  );

  it('hold so many requests each, and no longer ones', async () => {
    bench.script = waitForCancel;
    const small = await bench.startGateway({ bodyLimit: 2 * 1024 * 1024 });
    const socket = new WebSocket(`${small.url.replace('http', 'ws')}/v1/responses`);
    const refused: string[] = [];
    const enough = Promise.withResolvers<void>();
    socket.on('message', (data) => {
      const frame = JSON.parse(data.toString());
      if (frame.type !== 'error') return;
      refused.push(`${frame.status} ${frame.error.code}`);
      if (refused.length === 1) enough.resolve();
    });
    await new Promise((resolve) => socket.once('open', resolve));
    const create = { type: 'response.create', model, store: false };
    for (let i = 0; i < 65; i++) socket.send(JSON.stringify({ ...create, input: 'hi' }));
    await enough.promise;
    expect(refused).toEqual(['503 overloaded']);
    const closed = new Promise<number>((resolve) => socket.once('close', resolve));
    socket.send('x'.repeat(3 * 1024 * 1024));
    expect(await closed).toBe(1009);
  });
});
