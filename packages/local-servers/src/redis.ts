import { askPort } from './ask-port.ts';
import { type LocalServer, type ServerKind, type StartOptions, startServer } from './local-server.ts';

const redis: ServerKind = {
  name: 'redis-server',
  protocol: 'redis',
  containerPort: 6379,
  args: ({ host, port, dataDir }) => [
    ...['--bind', host, '--port', String(port), '--dir', dataDir],
    // Loopback only, so the check for a password that `protected-mode` makes in a container is not needed.
    ...['--protected-mode', 'no', '--daemonize', 'no'],
    // A crash loses at most a second; what that was is put back from the token logs.
    ...['--appendonly', 'yes', '--appendfsync', 'everysec', '--save', ''],
    // A queue must not lose keys to eviction.
    ...['--maxmemory-policy', 'noeviction'],
  ],
  async isReady(port, pid) {
    const answer = await askPort(port, 'INFO server\r\nPING\r\n', (text) => /\+PONG|-LOADING/.test(text));
    if (answer === undefined || !answer.includes('+PONG')) return false;
    // Another Redis may have taken the port first.
    return pid === undefined || new RegExp(`^process_id:${pid}\\r?$`, 'm').test(answer);
  },
};

/** Starts a Redis fit for BullMQ: append-only file, no eviction. See `startServer` for what it throws. */
export function startRedis(options: StartOptions): Promise<LocalServer> {
  return startServer(redis, options);
}
