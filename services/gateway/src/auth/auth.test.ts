import { once } from 'node:events';
import { get as getHttp, type IncomingMessage } from 'node:http';
import { connect as connectTcp } from 'node:net';
import { text } from 'node:stream/consumers';
import OpenAI from 'openai';
import { ResponsesWS } from 'openai/resources/responses/ws';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { WebSocket } from 'ws';
import { answerText } from '../testing/scripts.ts';
import { type RunningGateway, TestBench } from '../testing/test-bench.ts';

const model = 'hymba-tiny-stories';
const origin = 'https://chat.example.com';

let bench: TestBench;
let gateway: RunningGateway;
beforeAll(async () => {
  bench = await TestBench.start();
  gateway = await bench.startGateway({ allowedOrigins: [origin] }, { withKeys: true });
});
afterAll(() => bench.stop());

const newKey = (...scopes: ('inference' | 'admin')[]) =>
  bench.keys.create({ tenant: 'acme', scopes, name: 'test' });
const get = (path: string, headers: Record<string, string> = {}) => fetch(gateway.url + path, { headers });
const bearer = (key: string) => ({ authorization: `Bearer ${key}` });
const socketUrl = () => `${gateway.url.replace('http', 'ws')}/v1/responses`;

/** The status that an upgrade is answered with; 101 where it succeeds. */
function upgrade(protocols: string[], headers: Record<string, string> = {}): Promise<number | undefined> {
  const socket = new WebSocket(socketUrl(), protocols, { headers });
  return new Promise((resolve, reject) => {
    socket.once('open', () => {
      socket.close();
      resolve(101);
    });
    socket.once('unexpected-response', (_, response) => resolve(response.statusCode));
    socket.once('error', reject);
  });
}

describe('a gateway with keys', () => {
  it.each([
    ['no key', {}],
    ['an unknown key', bearer('sk-baton-0000000000000000-'.padEnd(69, 'a'))],
    ["another server's key", bearer('sk-proj-1')],
    ['another scheme', { authorization: 'Basic YTpi' }],
  ])('refuses %s as OpenAI does', async (_, headers) => {
    for (const path of [
      '/v1/models',
      `/v1/models/${model}`,
      '/v1/responses/resp_1',
      '/admin/workers',
      '/metrics',
    ]) {
      const response = await get(path, headers);
      expect([response.status, response.headers.get('www-authenticate')]).toEqual([401, 'Bearer']);
      expect(await response.json()).toEqual({
        error: {
          message: expect.stringContaining('API key'),
          type: 'invalid_request_error',
          param: null,
          code: 'invalid_api_key',
        },
      });
    }
    expect(await upgrade([], headers)).toBe(401);
  });

  it('tells anybody whether it is well', async () => {
    expect((await get('/healthz')).status).toBe(200);
    expect((await get('/readyz')).status).toBe(200);
  });

  it('gives metrics, whose labels name tenants, to operators alone', async () => {
    const [inference, admin] = await Promise.all([newKey('inference'), newKey('admin')]);
    expect((await get('/metrics', bearer(inference.key))).status).toBe(403);
    const off = await get('/metrics', bearer(admin.key));
    expect([off.status, await off.text()]).toEqual([404, expect.stringContaining('OTEL_METRICS_EXPORTER')]);
  });

  it('lets a key do what its scopes say', async () => {
    const [inference, admin, both] = await Promise.all([
      newKey('inference'),
      newKey('admin'),
      newKey('inference', 'admin'),
    ]);
    const statuses = async ({ key }: { key: string }) => [
      (await get('/v1/models', bearer(key))).status,
      (await get('/admin/workers', bearer(key))).status,
    ];
    expect(await statuses(inference)).toEqual([200, 403]);
    expect(await statuses(admin)).toEqual([403, 200]);
    expect(await statuses(both)).toEqual([200, 200]);
    const refused = await get('/admin/workers', bearer(inference.key));
    expect(await refused.json()).toMatchObject({
      error: { code: 'missing_scope', message: expect.stringContaining("'admin'") },
    });
  });

  it('serves the unmodified client over HTTP and WebSocket', async () => {
    const { key } = await newKey('inference');
    const client = new OpenAI({ baseURL: `${gateway.url}/v1`, apiKey: key });
    expect((await client.responses.create({ model, input: 'hi' })).output_text).toBe(answerText);
    const socket = new ResponsesWS(client);
    const completed = new Promise((resolve, reject) => {
      socket.on('response.completed', ({ response }) => resolve(response.status));
      socket.on('error', reject);
    });
    socket.send({ type: 'response.create', model, input: 'hi' });
    expect(await completed).toBe('completed');
    socket.close();
  });

  it("takes a browser's key from the subprotocol", async () => {
    const { key } = await newKey('inference');
    expect(await upgrade(['realtime', `openai-insecure-api-key.${key}`])).toBe(101);
    expect(await upgrade(['realtime', 'openai-insecure-api-key.sk-1'])).toBe(401);
  });

  it('refuses a key once it is revoked, also over a connection that it opened', async () => {
    const { id, key } = await newKey('inference');
    const socket = new WebSocket(socketUrl(), { headers: bearer(key) });
    await new Promise((resolve) => socket.once('open', resolve));
    await bench.keys.revoke(id);
    expect((await get('/v1/models', bearer(key))).status).toBe(401);
    const frame = new Promise((resolve) =>
      socket.once('message', (data) => resolve(JSON.parse(String(data)))),
    );
    const closed = new Promise((resolve) => socket.once('close', resolve));
    socket.send(JSON.stringify({ type: 'response.create', model, input: 'hi' }));
    expect(await frame).toMatchObject({ type: 'error', status: 401, error: { code: 'invalid_api_key' } });
    expect(await closed).toBe(1008);
  });
});

describe('pages of browsers', () => {
  it('are let in from allowed origins alone, and told what they may read', async () => {
    const { key } = await newKey('inference');
    const asked = { ...bearer(key), origin };
    const response = await get('/v1/models', asked);
    expect([response.status, response.headers.get('access-control-allow-origin')]).toEqual([200, origin]);
    expect(response.headers.get('access-control-expose-headers')).toContain('x-request-id');
    const preflight = await fetch(`${gateway.url}/v1/responses`, {
      method: 'OPTIONS',
      headers: {
        origin,
        'access-control-request-method': 'POST',
        'access-control-request-headers': 'authorization,content-type',
      },
    });
    expect(preflight.status).toBe(204);
    expect(preflight.headers.get('access-control-allow-headers')).toBe('authorization,content-type');
    expect(await upgrade(['realtime', `openai-insecure-api-key.${key}`], { origin })).toBe(101);
  });

  it.each(['https://evil.example', 'null'])('are refused from %s, over WebSockets too', async (other) => {
    const { key } = await newKey('inference');
    const response = await get('/v1/models', { ...bearer(key), origin: other });
    expect([response.status, response.headers.get('access-control-allow-origin')]).toEqual([403, null]);
    expect(await response.json()).toMatchObject({ error: { code: 'origin_not_allowed' } });
    expect(await upgrade([`openai-insecure-api-key.${key}`], { origin: other })).toBe(403);
    // A gateway without keys, on its reader's own machine, is what such a page would look for.
    const open = await bench.startGateway();
    const drain = await fetch(`${open.url}/admin/workers/worker-1/drain`, {
      method: 'POST',
      headers: { origin: other },
    });
    expect(drain.status).toBe(403);
  });

  it('cannot be made to take an answer for something else', async () => {
    const { headers } = await get('/healthz');
    expect(Object.fromEntries(headers)).toMatchObject({
      'x-content-type-options': 'nosniff',
      'x-frame-options': 'SAMEORIGIN',
      'content-security-policy': expect.stringContaining("default-src 'none'"),
    });
  });
});

describe('a gateway without keys', () => {
  let open: RunningGateway;
  beforeAll(async () => {
    open = await bench.startGateway({ allowedOrigins: [origin] });
  });

  /** The answer under another name than the address that it is reached at. */
  const getAs = async (host: string, url: string, headers: Record<string, string> = {}) => {
    const [response] = (await once(
      getHttp(`${url}/v1/models`, { headers: { ...headers, host } }),
      'response',
    )) as [IncomingMessage];
    return { status: response.statusCode, body: await text(response) };
  };

  it.each([
    'localhost',
    'localhost:8080',
    'LOCALHOST',
    '127.0.0.1:8080',
    '127.1.2.3',
    '[::1]:8080',
    '[::1]',
    'chat.example.com',
    'chat.example.com:8443',
  ])('answers as %s', async (host) => {
    expect(await getAs(host, open.url)).toMatchObject({ status: 200 });
    const socket = new WebSocket(`${open.url.replace('http', 'ws')}/v1/responses`, { headers: { host } });
    await once(socket, 'open');
    socket.close();
  });

  it.each([
    'evil.example',
    'evil.example:8080',
    'localhost.evil.example',
    '127.0.0.1.evil.example',
    'evil.example@localhost',
    '192.168.0.4',
    '[fe80::1]:8080',
  ])('does not answer as %s, which a page may have made to lead to it', async (host) => {
    const { status, body } = await getAs(host, open.url);
    expect([status, JSON.parse(body)]).toMatchObject([403, { error: { code: 'host_not_allowed' } }]);
    const socket = new WebSocket(`${open.url.replace('http', 'ws')}/v1/responses`, { headers: { host } });
    const refused = new Promise((resolve) =>
      socket.once('unexpected-response', (_, response) => resolve(response.statusCode)),
    );
    expect(await refused).toBe(403);
  });

  it('differs in that from one with keys, which may have any name', async () => {
    const { key } = await newKey('inference');
    expect(await getAs('gateway:8080', gateway.url, bearer(key))).toMatchObject({ status: 200 });
    expect(await getAs('gateway:8080', gateway.url)).toMatchObject({ status: 401 });
  });
});

describe('a request that does not arrive', () => {
  const send = async (url: string, bytes: string) => {
    const { hostname, port } = new URL(url);
    const socket = connectTcp({ host: hostname, port: Number(port) });
    socket.write(bytes);
    const [head = '', body = ''] = (await text(socket)).split('\r\n\r\n');
    return { status: Number(head.split(' ')[1]), body: JSON.parse(body) };
  };

  it('is given up, and answered like everything else', async () => {
    const impatient = await bench.startGateway({ requestTimeoutMs: 50 });
    const { status, body } = await send(
      impatient.url,
      'POST /v1/responses HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 10\r\n\r\n{',
    );
    expect(status).toBe(408);
    expect(body).toMatchObject({ error: { type: 'invalid_request_error', code: 'request_timeout' } });
  });

  it.each([
    ['is no HTTP', 'hello\r\n\r\n', 400, 'invalid_request'],
    [
      'has more headers than fit',
      `GET / HTTP/1.1\r\nhost: a\r\nx: ${'a'.repeat(40_000)}\r\n\r\n`,
      431,
      'headers_too_large',
    ],
  ])('or that %s, too', async (_, bytes, status, code) => {
    expect(await send(gateway.url, bytes)).toMatchObject({ status, body: { error: { code } } });
  });
});
