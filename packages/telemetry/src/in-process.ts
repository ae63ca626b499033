import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

const run = promisify(execFile);
const index = new URL('./index.ts', import.meta.url).href;

/** Runs `body` in a process of its own, since the OpenTelemetry API is global and starts only once; gives what it printed. */
export async function inProcess(body: string, env: Record<string, string> = {}): Promise<string> {
  const script = `
    const { startTelemetry, withSpan, injectContext, extractContext, attributes, adderOf, count, measure, observe, recorderOf, createLogger,
      requestSpan, activeTraceparent, linksTo } = await import('${index}');
    const { SpanKind, trace, metrics } = await import('@opentelemetry/api');
    const { headers: natsHeaders } = await import('@nats-io/nats-core');
    const identity = { service: 'baton-test', version: '1.2.3', instanceId: 'a' };
    const telemetry = await startTelemetry(identity, createLogger('telemetry', 'info'));
    ${body}
    await telemetry.shutdown();`;
  const { stdout, stderr } = await run(process.execPath, ['--input-type=module', '--eval', script], {
    cwd: import.meta.dirname,
    env: { PATH: process.env['PATH'], ...env },
  });
  return stdout + stderr;
}
