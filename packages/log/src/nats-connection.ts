import { DependencyError, withoutSecrets } from '@baton/errors';
import { type ConnectionOptions, connect, type NatsConnection } from '@nats-io/transport-node';

/**
 * Connects to NATS and stays connected: after the first success it reconnects for ever, within a fraction of a second
 * of the server's return. `url` may list several servers, comma-separated. A user and password, or a token alone, in one of
 * them are for all, and so is `tls://`. Throws `DependencyError` where none answers.
 */
export async function connectNats(url: string, name: string): Promise<NatsConnection> {
  try {
    return await connect({
      ...placeOf(url),
      name,
      timeout: 5000,
      maxReconnectAttempts: -1,
      reconnectTimeWait: 100,
      reconnectJitter: 100,
      // Finds a connection that died without a word (a partition, a stopped server) within a few seconds.
      pingInterval: 2000,
      maxPingOut: 2,
      noAsyncTraces: true,
    });
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new DependencyError('nats', `NATS at ${withoutSecrets(url)} does not answer: ${reason}`, {
      cause: error,
    });
  }
}

/** The client takes nothing from a server's URL but its host and port. */
function placeOf(url: string): ConnectionOptions {
  const servers = url.split(',').map((server) => new URL(server));
  const { username = '', password = '' } = servers.find((server) => server.username !== '') ?? {};
  const [user, pass] = [username, password].map(decodeURIComponent);
  return {
    servers: servers.map(({ host }) => host),
    ...(username !== '' &&
      (password === '' ? { token: String(user) } : { user: String(user), pass: String(pass) })),
    ...(servers.some(({ protocol }) => protocol === 'tls:') && { tls: {} }),
  };
}
