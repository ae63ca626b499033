import { ConfigurationError, DependencyError } from '@baton/errors';
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

  /** Redis answers, and will not go to the database that the URL names. */
  refusedDatabase({ message }: Error): ConfigurationError {
    return new ConfigurationError(
      `Redis at ${this.#host} refuses the database that its URL names: ${message}; name one that it has, as in redis://host:6379/0`,
    );
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
 * `health`. Throws `DependencyError` where Redis does not answer now, `ConfigurationError` where it does not have the database
 * that the URL names: ioredis would go on in database 0.
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
  if (isRefusalOf(refusal, 'select')) {
    client.disconnect();
    throw health.refusedDatabase(refusal);
  }
  client
    .on('error', (error) => health.failed(error))
    .on('reconnecting', () => health.failed(new Error('the connection was lost')))
    .on('ready', () => health.recovered());
  client.off('error', remember);
  return client;
}

/** Whether Redis refused this command; ioredis notes which one it was. */
function isRefusalOf(error: unknown, command: string): error is Error {
  return error instanceof Error && (error as { command?: { name?: string } }).command?.name === command;
}
