import { DependencyError, FencedError, MessageError, OverloadedError, RequestError } from '@baton/errors';
import { queueName, redisPrefix } from '@baton/protocol';
import { Queue } from 'bullmq';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { newJob, TestBench, until } from './test-bench.ts';

let bench: TestBench;
beforeEach(async () => {
  bench = await TestBench.start();
});
afterEach(() => bench.stop());

describe('GenerationConsumer', () => {
  it.each([
    ['another attempt may help', new DependencyError('nats', 'away')],
    ['there is no room now', new OverloadedError('overloaded', 'full', 100)],
  ])('puts a job back while %s', async (_, error) => {
    const job = newJob();
    let attempts = 0;
    const { givenUp } = await bench.consume(async () => {
      if (++attempts < 3) throw error;
    });
    await bench.queue.add(job);
    await bench.untilGone(job);
    expect(attempts).toBe(3);
    expect(givenUp).toEqual([]);
  });

  it.each([
    ['an error of Baton', new RequestError('invalid_value', 'no', 'top_p'), 'invalid_value'],
    ['an error of anybody else', new Error('boom'), 'server_error'],
  ])('gives a job up that can never succeed: %s', async (_, error, code) => {
    const job = newJob();
    let attempts = 0;
    const { givenUp } = await bench.consume(async () => {
      attempts++;
      throw error;
    });
    await bench.queue.add(job);
    await bench.untilGone(job);
    expect(attempts).toBe(1);
    expect(givenUp).toMatchObject([{ id: job.id, job, error: { code } }]);
  });

  it('forgets a job whose generation another worker owns', async () => {
    const job = newJob();
    const { givenUp } = await bench.consume(async ({ id }) => {
      throw new FencedError(id, 1);
    });
    await bench.queue.add(job);
    await bench.untilGone(job);
    expect(givenUp).toEqual([]);
  });

  it('keeps a job that could not be given up yet', async () => {
    const job = newJob();
    let attempts = 0;
    await bench.consume(
      async () => {
        throw new Error('boom');
      },
      {
        onGivenUp: async () => {
          if (++attempts === 1) throw new DependencyError('nats', 'away');
        },
      },
    );
    await bench.queue.add(job);
    await bench.untilGone(job);
    expect(attempts).toBe(2);
  });

  it('refuses a payload that does not parse, by name, and keeps it to be looked at', async () => {
    const raw = new Queue(queueName, { connection: { url: bench.redis.url }, prefix: redisPrefix });
    const { id } = newJob();
    await raw.add('generation', { v: 1, id, colour: 'red' }, { jobId: id });
    let ran = false;
    const { givenUp } = await bench.consume(async () => {
      ran = true;
    });
    await until(async () => (await bench.queue.counts()).failed === 1);
    expect(ran).toBe(false);
    expect(givenUp).toMatchObject([{ id, job: null }]);
    expect(givenUp[0]?.error).toBeInstanceOf(MessageError);
    expect(givenUp[0]?.error.message).toContain(id);
    expect((await raw.getJob(id))?.failedReason).toContain('colour');
    await raw.close();
  });
});
