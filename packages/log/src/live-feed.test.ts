import { startTestNats, type TestServer } from '@baton/testing';
import { headers, type NatsConnection } from '@nats-io/transport-node';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { LiveFeed } from './live-feed.ts';
import { connectNats } from './nats-connection.ts';
import { defaultLogSettings } from './settings.ts';

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

const settings = { ...defaultLogSettings, liveBufferBytes: 1000, idleCheckMs: 50 };

async function publish(subject: string, sequence: number, bytes: number): Promise<void> {
  const header = headers();
  header.set('Nats-Sequence', String(sequence));
  header.set('Nats-Last-Sequence', String(sequence - 1));
  connection.publish(subject, 'x'.repeat(bytes), { headers: header });
  await connection.flush();
}

it('gives live messages in order, and null after a while without one', async () => {
  const feed = new LiveFeed(connection, 'a', settings);
  await feed.start();
  await publish('a', 1, 10);
  await publish('a', 2, 10);
  expect(await feed.next()).toMatchObject({ sequence: 1, previous: 0 });
  expect(await feed.next()).toMatchObject({ sequence: 2, previous: 1 });
  expect(await feed.next()).toBeNull();
  expect(feed.active).toBe(true);
  feed.stop();
});

it('stops and forgets once its buffer is full, and can start again', async () => {
  const feed = new LiveFeed(connection, 'b', settings);
  await feed.start();
  for (const sequence of [1, 2, 3]) await publish('b', sequence, 400);
  expect(feed.active).toBe(false);
  expect(await feed.next()).toBeNull();
  await feed.start();
  await publish('b', 4, 400);
  expect(await feed.next()).toMatchObject({ sequence: 4 });
  feed.stop();
});

it('has room again for what was taken', async () => {
  const feed = new LiveFeed(connection, 'c', settings);
  await feed.start();
  for (const sequence of [1, 2, 3, 4]) {
    await publish('c', sequence, 600);
    expect(await feed.next()).toMatchObject({ sequence });
  }
  feed.stop();
});

it('takes a single message of any size', async () => {
  const feed = new LiveFeed(connection, 'd', settings);
  await feed.start();
  await publish('d', 1, 5000);
  expect(await feed.next()).toMatchObject({ sequence: 1 });
  feed.stop();
});

it('wakes who waits when it is stopped', async () => {
  const feed = new LiveFeed(connection, 'e', { ...settings, idleCheckMs: 2 ** 31 - 1 });
  await feed.start();
  const waiting = feed.next();
  feed.stop();
  expect(await waiting).toBeNull();
});
