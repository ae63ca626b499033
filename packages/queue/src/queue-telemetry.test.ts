import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { newId } from '@baton/protocol';
import { startTestRedis } from '@baton/testing';
import { OtlpReceiver } from '@baton/testing/otlp-receiver';
import { expect, it } from 'vitest';

it('carries the trace from who adds a job to who runs it, without spans of its inner life', async () => {
  const [redis, receiver] = await Promise.all([startTestRedis(), OtlpReceiver.start()]);
  const id = newId('resp', 'default');
  const index = new URL('./index.ts', import.meta.url).href;
  // A process of its own, since the OpenTelemetry API is global and starts only once.
  const script = `
    const { startTelemetry, withSpan } = await import('@baton/telemetry');
    const { exampleJob } = await import('@baton/protocol/testing');
    const { GenerationConsumer, GenerationQueue } = await import('${index}');
    const telemetry = await startTelemetry({ service: 'test', version: '1', instanceId: 'a' });
    const queue = await GenerationQueue.open('${redis.url}');
    const { promise, resolve } = Promise.withResolvers();
    const run = async () => { await withSpan('run', {}, () => {}); resolve(); };
    const options = { concurrency: 1, onGivenUp: async () => {} };
    const consumer = await GenerationConsumer.start('${redis.url}', run, options);
    await withSpan('request', {}, () => queue.add(exampleJob({ id: '${id}' })));
    await promise;
    await consumer.close();
    await queue.close();
    await telemetry.shutdown();`;
  await promisify(execFile)(process.execPath, ['--input-type=module', '--eval', script], {
    cwd: import.meta.dirname,
    env: { PATH: process.env['PATH'], ...receiver.env },
  });
  const byName = Object.fromEntries(receiver.spans.map((span) => [span.name, span]));
  expect(Object.keys(byName).toSorted()).toEqual([
    'add generations.generation',
    'process generations',
    'request',
    'run',
    'wait',
  ]);
  const { request, run, wait, 'add generations.generation': add, 'process generations': process_ } = byName;
  expect(add).toMatchObject({
    kind: 'producer',
    traceId: request?.traceId,
    parentSpanId: request?.spanId,
    attributes: {
      'messaging.system.name': 'bullmq',
      'messaging.operation.type': 'send',
      'messaging.destination.name': 'generations',
      'messaging.message.id': id,
    },
  });
  expect(process_).toMatchObject({
    kind: 'consumer',
    traceId: request?.traceId,
    parentSpanId: add?.spanId,
    attributes: { 'messaging.operation.type': 'process', 'messaging.message.id': id },
  });
  expect(wait).toMatchObject({
    kind: 'consumer',
    traceId: request?.traceId,
    parentSpanId: add?.spanId,
    attributes: { 'messaging.operation.type': 'receive', 'messaging.message.id': id },
  });
  expect(wait?.end).toBeGreaterThanOrEqual(wait?.start ?? Number.NaN);
  expect(run).toMatchObject({ traceId: request?.traceId, parentSpanId: process_?.spanId });
  await Promise.all([redis.stop(), receiver.stop()]);
});
