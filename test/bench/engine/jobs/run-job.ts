import { fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { allocatorEnv } from '@baton/engine/allocator-env';
import type { Effort, FromJob, Job, Row } from './messages.ts';

export interface JobResult {
  readonly rows: readonly Row[];
  /** What was not measured, and why. */
  readonly notes: readonly string[];
  readonly peakBytes: number | null;
  /** Why rows are missing. */
  readonly failure: string | null;
}

const interrupted = 'interrupted';

const path = (name: string) => fileURLToPath(new URL(name, import.meta.url));

/**
 * Measures in a process of its own, so that memory and threads of one job do not disturb the next, and ends it when it
 * takes longer than `limit` ms or `signal` aborts; the rows that it gave until then are kept.
 */
export function runJob(
  job: Job,
  effort: Effort,
  { limit, signal }: { readonly limit: number; readonly signal: AbortSignal },
): Promise<JobResult> {
  if (signal.aborted) return Promise.resolve({ rows: [], notes: [], peakBytes: null, failure: interrupted });
  const child = fork(path('job-process.ts'), {
    execArgv: ['--import', path('runtime-clock.ts')],
    env: { ...allocatorEnv, ...process.env },
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  });
  const rows: Row[] = [];
  const notes: string[] = [];
  let peakBytes: number | null = null;
  let failure: string | null = null;
  child.on('message', (message: FromJob) => {
    if (message.type === 'row') rows.push(message.row);
    else if (message.type === 'note') notes.push(message.note);
    else if (message.type === 'done') peakBytes = message.peakBytes;
    else failure = message.reason;
  });
  child.send({ job, effort });
  const end = (reason: string) => {
    failure = reason;
    child.kill('SIGKILL');
  };
  const timer = setTimeout(() => end(`stopped after ${Math.round(limit / 1000)} s`), limit);
  const onAbort = () => end(interrupted);
  signal.addEventListener('abort', onAbort);
  return new Promise((resolve) => {
    child.once('exit', (code, exitSignal) => {
      clearTimeout(timer);
      signal.removeEventListener('abort', onAbort);
      if (peakBytes === null) failure ??= `the process ended with ${exitSignal ?? `code ${code}`}`;
      resolve({ rows, notes, peakBytes, failure });
    });
  });
}
