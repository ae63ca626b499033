// `npm test`: checks everything through turbo, whose cache skips what has not changed, and prints the totals last.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { globSync, readFileSync, rmSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { BatonError } from '@baton/errors';
import { confirmAtTerminal, findServer } from '@baton/local-servers';
import { addTotals, countReport, noTests, totalsLine } from './totals.ts';

const root = resolve(import.meta.dirname, '../..');
const say = (line: string): void => void process.stdout.write(`${line}\n`);

async function checkEverything(): Promise<number> {
  const folders = testedFolders();
  // A report of an earlier run must not be counted; turbo puts back those of cached runs.
  for (const folder of folders) rmSync(reportOf(folder), { force: true });
  const code = await runTurbo();

  let totals = noTests;
  for (const folder of folders) {
    const report = readReport(folder);
    totals = addTotals(totals, report === undefined ? { ...noTests, failed: 1 } : countReport(report));
    if (report === undefined) say(`${folder}: its tests ended without a report, which counts as one failure`);
  }
  if (code !== 0 && totals.failed === 0) say('A check other than a test failed; its output is above.');
  say(totalsLine(totals));
  return code === 0 && totals.failed === 0 ? 0 : 1;
}

/** Every workspace that has tests, and `infra`, which the root's own scripts check. */
function testedFolders(): string[] {
  const readJson = (path: string) => JSON.parse(readFileSync(join(root, path), 'utf8'));
  const manifests: string[] = readJson('package.json').workspaces.map(
    (pattern: string) => `${pattern}/package.json`,
  );
  const tested = globSync(manifests, { cwd: root }).filter(
    (path) => readJson(path).scripts?.test !== undefined,
  );
  return ['infra', ...tested.map((path) => dirname(path))].toSorted();
}

function reportOf(folder: string): string {
  return join(root, folder, '.vitest', 'results.json');
}

function readReport(folder: string): unknown {
  try {
    return JSON.parse(readFileSync(reportOf(folder), 'utf8'));
  } catch {
    return undefined;
  }
}

async function runTurbo(): Promise<number> {
  const tasks = ['lint', 'lint:root', 'typecheck', 'typecheck:root', 'test', 'test:root'];
  const options = ['--continue=always', '--concurrency=2', '--output-logs=new-only', '--log-order=grouped'];
  // Turbo has every task write colours, also into a file.
  const colours = process.stdout.isTTY ? {} : { NO_COLOR: '1', FORCE_COLOR: '0' };
  const turbo = spawn('turbo', ['run', ...tasks, ...options, '--cache=local:rw'], {
    cwd: root,
    detached: true,
    stdio: ['ignore', 'inherit', 'inherit'],
    env: {
      ...process.env,
      ...colours,
      TURBO_TELEMETRY_DISABLED: '1',
      DO_NOT_TRACK: '1',
      TURBO_NO_UPDATE_NOTIFIER: '1',
    },
  });
  // To the whole group, since the program that runs turbo proper does not pass signals on. Turbo ends its tasks before
  // itself, and we wait for it, so that nothing is left running.
  const stop = (signal: NodeJS.Signals) => {
    if (turbo.pid !== undefined && turbo.exitCode === null) process.kill(-turbo.pid, signal);
  };
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, stop);
  const [code] = await once(turbo, 'exit');
  return typeof code === 'number' ? code : 1;
}

try {
  for (const server of ['redis-server', 'nats-server'] as const) {
    await findServer(server, { confirm: confirmAtTerminal(), say });
  }
  process.exitCode = await checkEverything();
} catch (error) {
  if (!(error instanceof BatonError)) throw error;
  say(error.message);
  say(totalsLine({ ...noTests, failed: 1 }));
  process.exitCode = 1;
}
