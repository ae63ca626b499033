import { exampleJob } from '@baton/protocol/testing';
import { RecordedMetrics } from '@baton/telemetry/testing';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { Gateway } from '../gateway.ts';
import { type RunningGateway, TestBench } from '../testing/test-bench.ts';
import { reconcile } from './reconcile.ts';

let bench: TestBench;
let gateway: RunningGateway;
const metrics = new RecordedMetrics();
beforeAll(async () => {
  bench = await TestBench.start();
  gateway = await bench.startGateway();
});
afterAll(() => bench?.stop());
beforeEach(() => metrics.clear());

async function inBackground(): Promise<string> {
  const body = { model: 'hymba-tiny-stories', input: 'x', background: true };
  return (await gateway.client.responses.create(body)).id;
}

describe('a generation that its gateway ends is counted once', () => {
  it('where it is cancelled while it waits', async () => {
    await bench.stopConsumer();
    try {
      const id = await inBackground();
      for (let i = 0; i < 2; i++) await gateway.client.responses.cancel(id);
      await gateway.client.responses.delete(id);
      expect(metrics.counted('baton.generations')).toEqual({ cancelled: 1 });
    } finally {
      await bench.startConsumer();
    }
  });

  it('where it is deleted and its worker does not answer', async () => {
    const [taken, release] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    bench.script = async () => {
      taken.resolve();
      await release.promise;
    };
    const id = await inBackground();
    await taken.promise;
    await gateway.client.responses.delete(id);
    release.resolve();
    expect(metrics.counted('baton.generations')).toEqual({ cancelled: 1 });
  });

  it('where the queue has given it up', async () => {
    const job = exampleJob();
    await bench.log.appendQueued(job);
    const logger = gateway.server.app.log;
    const queue = { has: async () => true, refusal: async () => 'it cannot be read' };
    const looking = { log: bench.log, queue, logger, snapshots: null } as unknown as Gateway;
    for (let i = 0; i < 2; i++) expect(await reconcile(looking, job.id)).toBe(true);
    expect((await bench.log.read(job.id))?.terminal).toMatchObject({ code: 'server_error' });
    expect(metrics.counted('baton.generations')).toEqual({ server_error: 1 });
  });
});
