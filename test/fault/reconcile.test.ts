import { queueName, redisPrefix } from '@baton/protocol';
import { GenerationConsumer, GenerationQueue } from '@baton/queue';
import { Redis } from 'ioredis';
import OpenAI from 'openai';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type System, startSystem } from '../support/system.ts';

const request = { model: 'hymba-tiny-stories', input: 'Once', max_output_tokens: 8, background: true };
let system: System;
let redis: Redis;
let queue: GenerationQueue;
let responses: OpenAI['responses'];

beforeAll(async () => {
  system = await startSystem({ workers: 0 });
  redis = new Redis(system.servers.redis.url);
  queue = await GenerationQueue.open(system.servers.redis.url);
  ({ responses } = new OpenAI({ baseURL: `${system.url}/v1`, apiKey: 'none-needed' }));
});
afterAll(async () => {
  redis?.disconnect();
  await queue?.close();
  await system?.stop();
});

/** Makes a waiting job one that no worker can read. */
const damage = (id: string) =>
  redis.hset(`${redisPrefix}:${queueName}:${id}`, 'data', JSON.stringify({ v: 1, colour: 'red' }));
const untilFailed = (id: string) =>
  expect
    .poll(() => responses.retrieve(id))
    .toMatchObject({
      status: 'failed',
      error: { code: 'server_error', message: expect.stringMatching('colour') },
    });

it('ends what the queue gave up with an error, and runs what it lost, though nobody reads either', async () => {
  const lost = await responses.create(request);
  await redis.flushall();
  expect(await queue.has(lost.id)).toBe(false);

  // Given up by a worker that was lost before it could say so in the log.
  const unsaid = await responses.create(request);
  await damage(unsaid.id);
  const dying = await GenerationConsumer.start(system.servers.redis.url, async () => {}, {
    concurrency: 1,
    onGivenUp: async () => {},
  });
  await expect.poll(() => queue.refusal(unsaid.id)).toContain('colour');
  await dying.close();

  const said = await responses.create(request);
  await damage(said.id);
  await system.addWorker();
  for (const { id } of [said, unsaid]) await untilFailed(id);
  await expect.poll(() => responses.retrieve(lost.id)).toMatchObject({ status: 'incomplete' });
});
