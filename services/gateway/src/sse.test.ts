import { once } from 'node:events';
import { fastify } from 'fastify';
import { expect, it } from 'vitest';
import { clientSignal } from './sse.ts';

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
