import type { DependencyError } from '@baton/errors';
import { connectRedis, RedisHealth } from '@baton/redis';
import type { Redis } from 'ioredis';

/** Replaces a text that is still the one that was read. */
const replaceScript = `
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1`;

/**
 * Small texts in Redis that every gateway sees, each under its key until it has been left alone for as long as a log
 * lives. Every method throws `DependencyError` at once while Redis is away.
 */
export class Documents {
  readonly #client: Redis;
  readonly #health: RedisHealth;
  readonly #ttlMs: number;

  private constructor(client: Redis, health: RedisHealth, ttlMs: number) {
    this.#client = client;
    this.#health = health;
    this.#ttlMs = ttlMs;
  }

  /** `onError` hears of each outage once. Throws `DependencyError` where Redis does not answer. */
  static async open(
    url: string,
    {
      ttlMs,
      onError = () => {},
    }: { readonly ttlMs: number; readonly onError?: (error: DependencyError) => void },
  ): Promise<Documents> {
    const health = new RedisHealth(url, onError);
    const client = await connectRedis(url, health, {
      enableOfflineQueue: false,
      maxRetriesPerRequest: 0,
      commandTimeout: 5000,
    });
    return new Documents(client, health, ttlMs);
  }

  read(key: string): Promise<string | null> {
    return this.#ask(this.#client.get(key));
  }

  /** False where the key is taken. */
  async create(key: string, text: string): Promise<boolean> {
    return (await this.#ask(this.#client.set(key, text, 'PX', this.#ttlMs, 'NX'))) === 'OK';
  }

  /** Puts `text` in place of `before`; false where that is no longer what is there. */
  async replace(key: string, before: string, text: string): Promise<boolean> {
    return (await this.#ask(this.#client.eval(replaceScript, 1, key, before, text, this.#ttlMs))) === 1;
  }

  /** False where there was nothing. */
  async delete(key: string): Promise<boolean> {
    return (await this.#ask(this.#client.del(key))) === 1;
  }

  close(): void {
    this.#client.disconnect();
  }

  async #ask<T>(answer: Promise<T>): Promise<T> {
    try {
      return await answer;
    } catch (error) {
      throw this.#health.unavailable(error);
    }
  }
}
