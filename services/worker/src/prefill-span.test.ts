import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { OtlpReceiver } from '@baton/testing/otlp-receiver';
import { expect, it } from 'vitest';

it('says how many logged tokens were computed again, and not how many there were', async () => {
  const receiver = await OtlpReceiver.start();
  const bench = new URL('./test-bench.ts', import.meta.url).href;
  // A process of its own, since the OpenTelemetry API is global and starts only once.
  const script = `
    const { startTelemetry } = await import('@baton/telemetry');
    const { ScriptedEngine } = await import('@baton/engine/testing');
    const { TestBench, newJob } = await import('${bench}');
    const telemetry = await startTelemetry({ service: 'test', version: '1', instanceId: 'a' });
    const bench = await TestBench.start();
    const job = newJob();
    const { promise: stored, resolve } = Promise.withResolvers();
    const onSave = (_, { kind, tokens }) => kind === 'saved' && tokens > job.prompt.length && resolve();
    const dying = new ScriptedEngine({ stepMs: 10 });
    const died = bench.run(job, dying, { states: bench.statesOf(dying, { every: 8, onSave }) }).catch(() => {});
    await stored;
    await dying.close();
    await died;
    console.log(job.prompt.length + (await bench.stateOf(job)).tokens.length);
    await bench.run(job, new ScriptedEngine());
    await bench.stop();
    await telemetry.shutdown();`;
  const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '--eval', script], {
    cwd: import.meta.dirname,
    env: { PATH: process.env['PATH'], ...receiver.env },
  });
  const prefill = await receiver.waitFor(
    ({ name, attributes }) => name === 'prefill' && attributes['baton.epoch'] === 2,
  );
  const restore = receiver.spans.find(
    ({ name, attributes }) => name === 'restore' && attributes['baton.restore.source'] === 'snapshot',
  );
  const replayed = Number(stdout) - Number(restore?.attributes['baton.restore.tokens']);
  expect(prefill.attributes['baton.replayed_tokens']).toBe(replayed);
  await receiver.stop();
});
