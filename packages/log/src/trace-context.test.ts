import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { startTestNats } from '@baton/testing';
import { OtlpReceiver } from '@baton/testing/otlp-receiver';
import { expect, it } from 'vitest';

it('stores the trace context of an append with the entry', async () => {
  const [nats, receiver] = await Promise.all([startTestNats(), OtlpReceiver.start()]);
  const index = new URL('./index.ts', import.meta.url).href;
  // A process of its own, since the OpenTelemetry API is global and starts only once.
  const script = `
    const { startTelemetry, withSpan } = await import('@baton/telemetry');
    const { exampleJob } = await import('@baton/protocol/testing');
    const { jetstreamManager } = await import('@nats-io/jetstream');
    const { TokenLog } = await import('${index}');
    const telemetry = await startTelemetry({ service: 'test', version: '1', instanceId: 'a' });
    const log = await TokenLog.open('${nats.url}');
    await withSpan('enqueue', {}, () => log.appendQueued(exampleJob()));
    const { direct } = await jetstreamManager(log.connection);
    const stored = await direct.getMessage('BATON_LOG_0', { seq: 1 });
    console.log(stored.header.get('traceparent'));
    await log.claim(exampleJob(), 'worker-1');
    await log.claim(exampleJob(), 'worker-2');
    console.log(JSON.stringify((await log.read(exampleJob().id)).traces));
    await log.close();
    await telemetry.shutdown();`;
  const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '--eval', script], {
    cwd: import.meta.dirname,
    env: { PATH: process.env['PATH'], ...receiver.env },
  });
  const span = await receiver.waitFor(({ name }) => name === 'append queued');
  const [header, traces = ''] = stdout.trim().split('\n');
  expect(header).toBe(`00-${span.traceId}-${span.spanId}-01`);
  const claims = receiver.spans.filter(({ name }) => name === 'append claimed');
  expect(JSON.parse(traces)).toEqual({
    request: header,
    attempts: claims.map(({ traceId, spanId }) => `00-${traceId}-${spanId}-01`),
  });
  expect(claims).toHaveLength(2);
  await Promise.all([nats.stop(), receiver.stop()]);
});
