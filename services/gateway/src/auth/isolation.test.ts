import { newId, tagOfId, tenantTag } from '@baton/protocol';
import { exampleId } from '@baton/protocol/testing';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { WebSocket } from 'ws';
import { TestBench } from '../testing/test-bench.ts';

const model = 'hymba-tiny-stories';
/** Of nobody: the first might be the stranger's, by its tag, the second nobody's. */
const unknown = [exampleId('stranger'), exampleId('nobody')];

let bench: TestBench;
let url: string;
let owner: string;
let stranger: string;
/** A response of the owner's, and what it answered. */
let id: string;
beforeAll(async () => {
  bench = await TestBench.start();
  ({ url } = await bench.startGateway({}, { withKeys: true }));
  [owner, stranger] = [await keyOf('owner'), await keyOf('stranger')];
  const created = await send('POST', '/v1/responses', owner, { model, input: 'hi', background: true });
  ({ id } = created.body as { id: string });
  await send('GET', `/v1/responses/${id}?stream=true`, owner);
});
afterAll(() => bench.stop());

async function keyOf(tenant: string): Promise<string> {
  return (await bench.keys.create({ tenant, scopes: ['inference'], name: '' })).key;
}

async function send(method: string, path: string, key: string, body?: unknown) {
  const response = await fetch(url + path, {
    method,
    headers: {
      authorization: `Bearer ${key}`,
      ...(body !== undefined && { 'content-type': 'application/json' }),
    },
    ...(body !== undefined && { body: JSON.stringify(body) }),
  });
  const text = await response.text();
  const { 'content-length': _, ...headers } = Object.fromEntries(response.headers);
  const parsed: unknown = text.startsWith('{') ? JSON.parse(text) : text;
  return { status: response.status, headers: Object.keys(headers), body: parsed };
}

/** The first `count` frames that the stranger gets for a `response.create` with `fields`, without the id that it names. */
async function framesTo(query: string, fields: object, named: string, count: number): Promise<string[]> {
  const socket = new WebSocket(`${url.replace('http', 'ws')}/v1/responses${query}`, {
    headers: { authorization: `Bearer ${stranger}` },
  });
  const frames: string[] = [];
  const all = new Promise<void>((resolve) => {
    socket.on('message', (data) => {
      const [, nameless = ''] = named.split('_');
      if (frames.push(String(data).replaceAll(nameless, '…')) === count) resolve();
    });
  });
  const create = { type: 'response.create', model, input: 'hi', ...fields };
  socket.once('open', () => socket.send(JSON.stringify(create)));
  await all;
  socket.close();
  return frames;
}

/** Every request that can name a response. */
const requests: [string, (id: string) => [method: string, path: string, body?: unknown]][] = [
  ['retrieve', (id) => ['GET', `/v1/responses/${id}`]],
  ['resume', (id) => ['GET', `/v1/responses/${id}?stream=true&starting_after=1`]],
  ['cancel', (id) => ['POST', `/v1/responses/${id}/cancel`]],
  ['delete', (id) => ['DELETE', `/v1/responses/${id}`]],
  ['list the input of', (id) => ['GET', `/v1/responses/${id}/input_items`]],
  ['continue', (id) => ['POST', '/v1/responses', { model, input: 'hi', previous_response_id: id }]],
  [
    'quote',
    (id) => [
      'POST',
      '/v1/responses',
      { model, input: [{ type: 'item_reference', id: id.replace('resp_', 'msg_') }] },
    ],
  ],
  ['move', (id) => ['POST', `/admin/generations/${id}/migrate`]],
];

describe("another tenant's response", () => {
  it.each(requests)('answers exactly as an unknown one to: %s', async (_, request) => {
    const answerTo = async (named: string) => {
      const answer = await send(...withKey(request(named)));
      const body = JSON.stringify(answer.body).replaceAll(named.slice('resp_'.length), '…');
      return { ...answer, body };
    };
    const withKey = ([method, path, body]: [string, string, unknown?]) =>
      [method, path, stranger, body] as const;
    const read = vi.spyOn(bench.log, 'read');
    const others = await answerTo(id);
    expect(others.status).toBeGreaterThanOrEqual(400);
    expect(read).not.toHaveBeenCalled();
    for (const named of unknown) expect(others).toEqual(await answerTo(named));
    read.mockRestore();
  });

  it('does so over a WebSocket, too', async () => {
    const answersTo = (named: string) =>
      framesTo(`?response_id=${named}`, { previous_response_id: named }, named, 2);
    const frames = await answersTo(id);
    for (const named of unknown) expect(frames).toEqual(await answersTo(named));
    for (const frame of frames) {
      expect(JSON.parse(frame)).toMatchObject({ status: 404, error: { code: 'response_not_found' } });
    }
  });

  it("is still its owner's afterwards, whole", async () => {
    const { status, body } = await send('GET', `/v1/responses/${id}`, owner);
    expect([status, body]).toEqual([200, expect.objectContaining({ id, status: 'completed' })]);
  });
});

describe("another tenant's conversation", () => {
  const item = `msg_${'1'.repeat(32)}`;
  const message = { role: 'user', content: 'hi' };
  it.each<[string, (id: string) => [method: string, path: string, body?: unknown]]>([
    ['read', (conversation) => ['GET', `/v1/conversations/${conversation}`]],
    ['change', (conversation) => ['POST', `/v1/conversations/${conversation}`, { metadata: {} }]],
    ['delete', (conversation) => ['DELETE', `/v1/conversations/${conversation}`]],
    ['list', (conversation) => ['GET', `/v1/conversations/${conversation}/items`]],
    ['add to', (conversation) => ['POST', `/v1/conversations/${conversation}/items`, { items: [message] }]],
    ['read an item of', (conversation) => ['GET', `/v1/conversations/${conversation}/items/${item}`]],
    ['delete an item of', (conversation) => ['DELETE', `/v1/conversations/${conversation}/items/${item}`]],
    ['answer in', (conversation) => ['POST', '/v1/responses', { model, input: 'hi', conversation }]],
  ])('answers exactly as an unknown one to: %s', async (_, request) => {
    const { body } = await send('POST', '/v1/conversations', owner, { items: [message] });
    const own = (body as { id: string }).id;
    const answers = [];
    for (const named of [own, newId('conv', 'stranger'), newId('conv', 'nobody')]) {
      const [method, path, sent] = request(named);
      const answer = await send(method, path, stranger, sent);
      answers.push({ ...answer, body: JSON.stringify(answer.body).replaceAll(named, '…') });
    }
    expect(answers[0]?.status).toBe(404);
    for (const answer of answers) expect(answer).toEqual(answers[0]);
    expect((await send('GET', `/v1/conversations/${own}/items`, owner)).body).toMatchObject({
      data: [{ role: 'user' }],
    });
  });

  it('does so over a WebSocket, too', async () => {
    const { body } = await send('POST', '/v1/conversations', owner, {});
    const answersTo = (named: string) => framesTo('', { conversation: named }, named, 1);
    const frames = await answersTo((body as { id: string }).id);
    expect(frames).toEqual(await answersTo(newId('conv', 'stranger')));
    expect(JSON.parse(frames[0] ?? '')).toMatchObject({
      status: 404,
      error: { code: 'conversation_not_found', param: 'conversation' },
    });
  });

  it('is not what a response of the owner in it tells', async () => {
    const { body } = await send('POST', '/v1/conversations', owner, {});
    const conversation = (body as { id: string }).id;
    const answered = await send('POST', '/v1/responses', owner, { model, input: 'hi', conversation });
    expect(answered.body).toMatchObject({ conversation: { id: conversation } });
    const { id: response } = answered.body as { id: string };
    for (const path of [`/v1/responses/${response}`, `/v1/responses/${response}/input_items`]) {
      const { status, body } = await send('GET', path, stranger);
      expect([path, status]).toEqual([path, 404]);
      expect(JSON.stringify(body)).not.toContain(conversation);
    }
  });
});

it("is kept apart by the log's own word where two tenants' tags are equal", async () => {
  const [one, other] = ['tenant-39588', 'tenant-67738'] as const;
  expect(tenantTag(one)).toBe(tenantTag(other));
  const { body } = await send('POST', '/v1/responses', await keyOf(one), { model, input: 'hi' });
  const { id } = body as { id: string };
  const answer = await send('GET', `/v1/responses/${id}`, await keyOf(other));
  expect(answer).toMatchObject({ status: 404, body: { error: { code: 'response_not_found' } } });
});

it('takes the same idempotency key of two tenants for two', async () => {
  const post = async (key: string) => {
    const response = await fetch(`${url}/v1/responses`, {
      method: 'POST',
      headers: {
        authorization: `Bearer ${key}`,
        'content-type': 'application/json',
        'idempotency-key': 'the same',
      },
      body: JSON.stringify({ model, input: 'hi' }),
    });
    return ((await response.json()) as { id: string }).id;
  };
  const [first, again, other] = [await post(owner), await post(owner), await post(stranger)];
  expect(again).toBe(first);
  expect(other).not.toBe(first);
});

it("carries its owner's tenant wherever it is kept", async () => {
  expect((await bench.log.read(id))?.job?.tenant).toBe('owner');
  const { body } = await send('POST', '/v1/conversations', owner, {
    items: [{ role: 'user', content: 'hi' }],
  });
  const conversation = (body as { id: string }).id;
  const items = await send('GET', `/v1/conversations/${conversation}/items`, owner);
  const { first_id } = items.body as { first_id: string };
  for (const named of [id, conversation, first_id]) expect(tagOfId(named)).toBe(tenantTag('owner'));
});
