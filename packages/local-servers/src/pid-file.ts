import { execFileSync } from 'node:child_process';
import { readFileSync, readlinkSync, rmSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { ConfigurationError } from '@baton/errors';
import type { ServerName } from './find-server.ts';

/** A running server and the process that started it. */
interface Remembered {
  readonly server: number;
  readonly owner: number;
}

const pidFile = (name: ServerName, dataDir: string): string => join(dataDir, `${name}.pid`);

/** Notes which process serves this data, on behalf of which: `<server> <owner>`. */
export function rememberServer(name: ServerName, dataDir: string, pid: number): void {
  writeFileSync(pidFile(name, dataDir), `${pid} ${process.pid}\n`);
}

/** Forgets the server `pid`, unless another has been started on the same data since. */
export function forgetServer(name: ServerName, dataDir: string, pid: number): void {
  if (remembered(name, dataDir)?.server === pid) rmSync(pidFile(name, dataDir), { force: true });
}

/**
 * Two servers on one folder would damage it. Stops one that an earlier, killed run left there; throws
 * `ConfigurationError` when the process that started it still runs.
 */
export async function stopStaleServer(
  name: ServerName,
  dataDir: string,
  say: (line: string) => void,
): Promise<void> {
  const found = remembered(name, dataDir);
  if (found === undefined || !isServerOf(found.server, name, dataDir)) return;
  if (isAlive(found.owner)) {
    throw new ConfigurationError(
      `${dataDir} is in use: process ${found.owner} runs a ${name} on it. Stop that process, or choose another folder.`,
    );
  }
  say(`stopping the ${name} that an earlier run left behind (process ${found.server})`);
  for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
    process.kill(found.server, signal);
    const deadline = performance.now() + 5_000;
    while (performance.now() < deadline) {
      if (!isServerOf(found.server, name, dataDir)) return;
      await sleep(25);
    }
  }
}

function remembered(name: ServerName, dataDir: string): Remembered | undefined {
  try {
    const match = /^(\d+) (\d+)$/.exec(readFileSync(pidFile(name, dataDir), 'utf8').trim());
    return match ? { server: Number(match[1]), owner: Number(match[2]) } : undefined;
  } catch {
    return undefined;
  }
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    // It runs, but belongs to somebody else.
    return error instanceof Error && 'code' in error && error.code === 'EPERM';
  }
}

/** Process ids are reused, so the process must also be the server: by its working folder, or else by its name. */
function isServerOf(pid: number, name: ServerName, dataDir: string): boolean {
  try {
    if (process.platform === 'linux') return readlinkSync(`/proc/${pid}/cwd`) === dataDir;
    return (
      basename(execFileSync('ps', ['-o', 'comm=', '-p', String(pid)], { encoding: 'utf8' }).trim()) === name
    );
  } catch {
    return false;
  }
}
