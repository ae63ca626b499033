import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { Running } from './keep-running.ts';
import { startService } from './service-process.ts';

let folder: string;
let logFile: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'baton-service-'));
  logFile = join(folder, 'service.log');
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

function startedService(
  source: string,
  options: { stopTimeoutMs?: number; hurried?: AbortSignal } = {},
): Running {
  const main = join(folder, 'main.ts');
  writeFileSync(main, source);
  const { stopTimeoutMs = 600_000, hurried = new AbortController().signal } = options;
  return startService({ main, env: { GREETING: 'hello' }, logFile, stopTimeoutMs, hurried });
}

const logged = () => readFileSync(logFile, 'utf8');
const stubborn = `process.on('SIGTERM', () => console.log('asked')); setInterval(() => {}, 1000); console.log('up');`;

it('logs what the service writes, and tells how it ended', async () => {
  const failing = startedService(`console.error(process.env.GREETING); process.exit(3)`);
  expect(await failing.exited).toBe('exit code 3');
  expect(failing.lastWords()).toBe('hello');
  const next = startedService(`console.log('again')`);
  expect(await next.exited).toBe('exit code 0');
  expect(next.lastWords()).toBe('again');
  expect(logged()).toBe('hello\nagain\n');
});

it('knows when the service is ready', async () => {
  const service = startedService(`process.send('hello'); process.send('ready'); setInterval(() => {}, 1000)`);
  await service.ready;
  await service.stop();
});

it('lets a service finish its work', async () => {
  const polite = startedService(
    `process.on('SIGTERM', () => setTimeout(() => { console.log('done'); process.exit() }, 50)); setInterval(() => {}, 1000); console.log('up')`,
  );
  await expect.poll(logged).toContain('up');
  await polite.stop();
  expect(await polite.exited).toBe('exit code 0');
  expect(logged()).toContain('done');
});

it('ends a service that takes too long, and at once when hurried', async () => {
  const slow = startedService(stubborn, { stopTimeoutMs: 50 });
  await expect.poll(logged).toContain('up');
  await slow.stop();
  expect(await slow.exited).toBe('SIGKILL');

  const hurry = new AbortController();
  rmSync(logFile);
  const hurried = startedService(stubborn, { hurried: hurry.signal });
  await expect.poll(logged).toContain('up');
  const stopped = hurried.stop();
  await expect.poll(logged).toContain('asked');
  hurry.abort();
  await stopped;
  expect(await hurried.exited).toBe('SIGKILL');
});

it('tells the service when the launcher was killed', async () => {
  writeFileSync(
    join(folder, 'main.ts'),
    `process.on('disconnect', () => { console.log('alone'); process.exit() }); console.log('up');`,
  );
  const launcher = spawn(process.execPath, ['--input-type=module', '-e', launcherScript, folder], {
    stdio: 'inherit',
  });
  await expect.poll(() => logged(), { timeout: 30_000 }).toContain('up');
  launcher.kill('SIGKILL');
  await once(launcher, 'exit');
  await expect.poll(logged, { timeout: 30_000 }).toContain('alone');
});

const launcherScript = `
import { startService } from ${JSON.stringify(import.meta.resolve('./service-process.ts'))};
const folder = process.argv[1];
startService({ main: folder + '/main.ts', env: {}, logFile: folder + '/service.log', stopTimeoutMs: 1000, hurried: new AbortController().signal });
`;
