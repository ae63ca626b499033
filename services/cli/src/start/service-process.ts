import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync } from 'node:fs';
import { logTail, openLog } from '@baton/local-servers';
import type { Running } from './keep-running.ts';
import { unlessAborted } from './stop-request.ts';

export interface ServiceOptions {
  /** The program's TypeScript file. */
  readonly main: string;
  readonly env: NodeJS.ProcessEnv;
  readonly logFile: string;
  /** How long the service may finish its running work once asked to stop, in milliseconds. */
  readonly stopTimeoutMs: number;
  /** Aborted when there is no more time for that. */
  readonly hurried: AbortSignal;
}

/**
 * Runs a gateway or worker as a process of its own, which
 * - writes to a log file,
 * - gets no Ctrl-C from the terminal (it is detached), since the launcher stops its services in order,
 * - has an IPC channel to the launcher, on which it says `ready`; it ends by itself when the channel closes, so that no
 *   service outlives a launcher that was killed.
 */
export function startService(options: ServiceOptions): Running {
  const log = openLog(options.logFile);
  const child = spawn(process.execPath, [options.main], {
    env: options.env,
    detached: true,
    stdio: ['ignore', log.fd, log.fd, 'ipc'],
  });
  closeSync(log.fd);
  const exited = once(child, 'exit').then(
    ([code, signal]) => `${signal ?? `exit code ${code}`}`,
    (error: unknown) => String(error),
  );
  const ready = new Promise<void>((resolve) => {
    child.on('message', (message) => message === 'ready' && resolve());
  });
  return {
    ready,
    exited,
    lastWords: () => logTail(options.logFile, log.start, 10),
    async stop() {
      child.kill('SIGTERM');
      const enough = AbortSignal.any([options.hurried, AbortSignal.timeout(options.stopTimeoutMs)]);
      await unlessAborted(exited, enough).catch(() => {});
      child.kill('SIGKILL');
      await exited;
    },
  };
}
