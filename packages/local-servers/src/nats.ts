import { randomUUID } from 'node:crypto';
import { askPort } from './ask-port.ts';
import { type LocalServer, type ServerKind, type StartOptions, startServer } from './local-server.ts';

function nats(more: readonly string[]): ServerKind {
  const serverName = `baton-${randomUUID()}`;
  return {
    name: 'nats-server',
    protocol: 'nats',
    containerPort: 4222,
    args: ({ host, port, dataDir }) => [
      ...['--addr', host, '--port', String(port), '--name', serverName],
      ...['--jetstream', '--store_dir', dataDir],
      ...more,
    ],
    async isReady(port) {
      const answer = await askPort(port, '', (text) => text.includes('\r\n'));
      // The name tells ours from another NATS that may have taken the port first.
      return (
        answer?.includes(`"server_name":"${serverName}"`) === true && answer.includes('"jetstream":true')
      );
    },
  };
}

/** Starts a NATS server with JetStream on a file store, with `args` besides. See `startServer` for what it throws. */
export function startNats(options: StartOptions, args: readonly string[] = []): Promise<LocalServer> {
  return startServer(nats(args), options);
}
