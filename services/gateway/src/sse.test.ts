import { once } from 'node:events';
import { get, type IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import { fastify } from 'fastify';
import { describe, expect, it } from 'vitest';
import { clientSignal, StreamReader, sendFrames, sseFrame } from './sse.ts';

it('knows of a client that left while its request was looked at', async () => {
  const app = fastify();
  const aborted = new Promise<boolean>((resolve) => {
    app.get('/', async (_, reply) => {
      leave.abort();
      await once(reply.raw, 'close');
      resolve(clientSignal(reply, new AbortController().signal).aborted);
    });
  });
  const leave = new AbortController();
  const url = await app.listen({ port: 0 });
  await fetch(url, { signal: leave.signal }).catch(() => null);
  expect(await aborted).toBe(true);
  await app.close();
});

/** A server of one stream of `frames`, its side of the connection, and the client's, who does not read yet. */
async function serve(frames: () => AsyncIterable<string>, keepAliveMs: number) {
  const app = fastify();
  app.get('/', (_, reply) => {
    const signal = clientSignal(reply, new AbortController().signal);
    return sendFrames(reply, frames(), { keepAliveMs, signal });
  });
  const connected = once(app.server, 'connection');
  const url = await app.listen({ port: 0, host: '127.0.0.1' });
  const [response] = (await once(get(url), 'response')) as [IncomingMessage];
  const [served] = (await connected) as [Socket];
  return { app, response, served };
}

it('holds some pieces of a long frame for a client that reads slowly, which gets it whole', async () => {
  const frame = sseFrame({ text: `a${'🙂é'.repeat(2_000_000)}` });
  async function* frames() {
    yield frame;
    yield 'data: [DONE]\n\n';
  }
  const { app, response, served } = await serve(frames, 60_000);
  await expect.poll(() => served.writableLength).toBeGreaterThan(0);
  expect(served.writableLength).toBeLessThan(256 * 1024);
  let text = '';
  for await (const piece of response.setEncoding('utf8')) text += piece;
  expect(text).toBe(`${frame}data: [DONE]\n\n`);
  await app.close();
});

it.each([1, 100])('lets go of a client that reads nothing of %i frames', async (count) => {
  async function* frames() {
    const text = 'x'.repeat(20_000_000 / count);
    for (let i = 0; i < count; i++) yield sseFrame({ text });
  }
  const { app, response, served } = await serve(frames, 50);
  await once(served, 'close');
  response.resume();
  await expect(once(response, 'end')).rejects.toThrow('aborted');
  await app.close();
});

describe('StreamReader', () => {
  const looks = (...given: [passed: number, waiting: number][]) => {
    const reader = new StreamReader();
    return given.map(([passed, waiting]) => reader.isStuck(passed, waiting));
  };

  it('is stuck where nothing left twice in a row', () => {
    expect(looks([10, 5], [10, 5], [10, 9])).toEqual([false, false, true]);
  });

  it('is slow where something left, however much waits', () => {
    expect(looks([10, 5], [10, 5], [11, 90], [11, 90], [12, 900])).toEqual(Array(5).fill(false));
  });

  it('is neither where nothing was to leave', () => {
    expect(looks([10, 0], [10, 0], [10, 0], [10, 5])).toEqual(Array(4).fill(false));
  });
});
