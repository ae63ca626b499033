import { DependencyError, withoutSecrets } from '@baton/errors';
import { connect, type NatsConnection } from '@nats-io/transport-node';

/**
 * Connects to NATS and stays connected: after the first success it reconnects for ever, within a fraction of a second
 * of the server's return. `url` may list several servers, comma-separated. Throws `DependencyError` where none answers.
 */
export async function connectNats(url: string, name: string): Promise<NatsConnection> {
  try {
    return await connect({
      servers: url.split(','),
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
