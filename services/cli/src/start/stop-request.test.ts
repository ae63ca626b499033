import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { expect, it } from 'vitest';
import { unlessAborted } from './stop-request.ts';

const module = JSON.stringify(import.meta.resolve('./stop-request.ts'));
const script = `
import { listenForStop } from ${module};
const stop = listenForStop();
stop.requested.addEventListener('abort', () => console.log('requested ' + stop.requested.reason));
stop.hurried.addEventListener('abort', () => { console.log('hurried'); process.exit(); });
setInterval(() => {}, 1000);
console.log(process.pid);
`;

function lines(stream: NodeJS.ReadableStream) {
  const iterator = createInterface({ input: stream })[Symbol.asyncIterator]();
  return async (): Promise<unknown> => (await iterator.next()).value;
}

it('takes signals close together for one, and a later one for hurry', async () => {
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const line = lines(child.stdout);
  await line();
  child.kill('SIGINT');
  child.kill('SIGTERM');
  expect(await line()).toMatch(/^requested SIG(INT|TERM)$/);
  const hurried = line();
  // Signals are sent until one counts as later; how many that takes does not matter.
  const again = setInterval(() => child.kill('SIGINT'), 50);
  try {
    expect(await hurried).toBe('hurried');
  } finally {
    clearInterval(again);
  }
  await once(child, 'close');
});

it('notices that its parent was killed', async () => {
  const parent = spawn(
    process.execPath,
    [
      '-e',
      `require('child_process').spawn(process.execPath, ['--input-type=module', '-e', process.argv[1]], { stdio: 'inherit' })`,
      script,
    ],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  );
  const line = lines(parent.stdout);
  const pid = Number(await line());
  parent.kill('SIGKILL');
  try {
    expect(await line()).toBe('requested the process that started it has ended');
  } finally {
    process.kill(pid, 'SIGKILL');
  }
});

it('gives up waiting when aborted', async () => {
  const never = new Promise<never>(() => {});
  const stop = new AbortController();
  const waiting = unlessAborted(never, stop.signal);
  stop.abort('SIGINT');
  await expect(waiting).rejects.toBe('SIGINT');
  await expect(unlessAborted(never, stop.signal)).rejects.toBe('SIGINT');
  await expect(unlessAborted(Promise.resolve(7), new AbortController().signal)).resolves.toBe(7);
});
