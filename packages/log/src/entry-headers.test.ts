import { startTestNats, type TestServer } from '@baton/testing';
import { headers, type Msg, type NatsConnection } from '@nats-io/transport-node';
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { headersOf } from './entry-headers.ts';
import { connectNats } from './nats-connection.ts';

let nats: TestServer;
let connection: NatsConnection;
beforeAll(async () => {
  nats = await startTestNats();
  connection = await connectNats(nats.url, 'test');
});
afterAll(async () => {
  await connection.close();
  await nats.stop();
});

async function received(
  values: Readonly<Record<string, string>> | null,
  data = 'ä',
  reply?: string,
): Promise<Msg> {
  const { promise, resolve } = Promise.withResolvers<Msg>();
  const subscription = connection.subscribe('a', { max: 1, callback: (_, message) => resolve(message) });
  const header = headers();
  for (const [name, value] of Object.entries(values ?? {})) header.set(name, value);
  connection.publish('a', data, { ...(values && { headers: header }), ...(reply && { reply }) });
  const message = await promise;
  subscription.unsubscribe();
  return message;
}

const values = { 'Nats-Sequence': '12', 'Nats-Last-Sequence': '7', Empty: '', Long: 'x: y'.repeat(100) };

it.each([
  ['with data', 'ä', undefined],
  ['without data', '', undefined],
  ['with a reply subject', 'b', 'somewhere'],
])('says what the headers of a message say, %s, without taking them apart', async (_, data, reply) => {
  const message = await received(values, data, reply);
  const takenApart = vi.spyOn(message, 'headers', 'get');
  const found = headersOf(message);
  for (const [name, value] of Object.entries(values)) expect(found.get(name)).toBe(value);
  for (const name of ['Sequence', 'Nats', 'x', 'nats-sequence']) expect(found.get(name)).toBe('');
  expect(takenApart).not.toHaveBeenCalled();
  expect(message.headers?.get('Nats-Sequence')).toBe('12');
  expect(message.string()).toBe(data);
});

it('finds none in a message without headers', async () => {
  const found = headersOf(await received(null, 'NATS/1.0\r\nNats-Sequence: 5\r\n\r\n'));
  expect(found.get('Nats-Sequence')).toBe('');
});

it('asks the message where its headers lie elsewhere', async () => {
  const message = await received(values);
  const elsewhere = new Proxy(message, {
    get: (target, key) => {
      const value: unknown = key === 'data' ? target.data.slice() : Reflect.get(target, key);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
  expect(headersOf(elsewhere).get('Nats-Sequence')).toBe('12');
});
