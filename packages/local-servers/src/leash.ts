import { spawn } from 'node:child_process';
import type { Container } from './docker.ts';

/**
 * Ends a server when this process ends in whatever way, SIGKILL included: a waiting shell holds the other end of a
 * pipe that the kernel closes with us. Gives a function that lets go, for a server that is gone already.
 */
export function leash(container: Container | undefined, pid: number): () => void {
  const end = container === undefined ? ['kill', String(pid)] : [container.docker, 'stop', container.name];
  const shell = spawn('/bin/sh', ['-c', 'read -r _; "$@"', 'sh', ...end], {
    detached: true,
    stdio: ['pipe', 'ignore', 'ignore'],
  });
  // Without a shell the server still runs; the next start on its data finds it by its process id.
  shell.on('error', () => {});
  shell.unref();
  return () => void shell.kill('SIGKILL');
}
