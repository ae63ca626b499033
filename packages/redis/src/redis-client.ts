import { DependencyError } from '@baton/errors';
import { Redis, type RedisOptions } from 'ioredis';

/** Reports each outage of one Redis once, however many failed attempts to reconnect it takes. */
export class RedisHealth {
  readonly #host: string;
  readonly #onError: (error: DependencyError) => void;
  #reported = false;

  constructor(url: string, onError: (error: DependencyError) => void) {
    // Without user and password.
    this.#host = new URL(url).host;
    this.#onError = onError;
  }

  unavailable(cause: unknown): DependencyError {
    const reason = cause instanceof Error ? cause.message || cause.name : String(cause);
    return new DependencyError('redis', `Redis at ${this.#host} does not answer: ${reason}`, { cause });
  }

  failed(cause: unknown): void {
    if (this.#reported) return;
    this.#reported = true;
    this.#onError(this.unavailable(cause));
  }

  recovered(): void {
    this.#reported = false;
  }
}

/**
 * Connects to Redis and stays connected: after the first success it reconnects for ever, and reports an outage to
 * `health`. Throws `DependencyError` where Redis does not answer now.
 */
export async function connectRedis(
  url: string,
  health: RedisHealth,
  options: Omit<RedisOptions, 'replyMapping'>,
): Promise<Redis> {
  const client = new Redis(url, {
    connectTimeout: 5000,
    // Finds a connection that died without a word.
    keepAlive: 5000,
    retryStrategy: (attempt: number) => Math.min(attempt * 100, 1000),
    ...options,
    lazyConnect: true,
  });
  let refusal: unknown;
  const remember = (error: unknown) => {
    refusal = error;
  };
  client.on('error', remember);
  try {
    await client.connect();
  } catch (error) {
    client.disconnect();
    throw health.unavailable(refusal ?? error);
  }
  client
    .on('error', (error) => health.failed(error))
    .on('reconnecting', () => health.failed(new Error('the connection was lost')))
    .on('ready', () => health.recovered());
  client.off('error', remember);
  return client;
}
