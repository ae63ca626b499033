import type { DependencyError } from '@baton/errors';
import { connectRedis, RedisHealth } from '@baton/redis';
import type { Redis } from 'ioredis';

/**
 * Puts the text ARGV[2] in place of ARGV[1], or of none, and into its account; with ARGV[2] empty takes away whatever there is.
 * Gives 1; 0 where something else was there; -1 where the account has no room.
 */
const changeScript = `
local key, sizes, expiries = KEYS[1], KEYS[2], KEYS[3]
local before, after, ttl, quota = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local function forget(text)
  redis.call('HINCRBY', sizes, 'total', string.format('%d', 0 - (redis.call('HGET', sizes, text) or 0)))
  redis.call('HDEL', sizes, text)
  redis.call('ZREM', expiries, text)
end
for _, expired in ipairs(redis.call('ZRANGEBYSCORE', expiries, '-inf', now, 'LIMIT', 0, 1000)) do
  forget(expired)
end
if after == '' then
  forget(key)
  return redis.call('DEL', key)
end
if (redis.call('GET', key) or '') ~= before then return 0 end
local held = tonumber(redis.call('HGET', sizes, key) or 0)
local total = tonumber(redis.call('HGET', sizes, 'total') or 0)
if #after > held and total - held + #after > quota then return -1 end
redis.call('SET', key, after, 'PX', ttl)
redis.call('HSET', sizes, key, #after, 'total', total - held + #after)
redis.call('ZADD', expiries, now + ttl, key)
for _, counted in ipairs({sizes, expiries}) do
  redis.call('PEXPIRE', counted, math.max(ttl, redis.call('PTTL', counted)))
end
return 1`;

/** What one tenant's texts of a kind may take together, and the Redis keys where that is counted. */
export interface DocumentAccount {
  /** A hash of the bytes of each text, and of the `total`. */
  readonly sizes: string;
  /** A sorted set of texts by when they expire. */
  readonly expiries: string;
  readonly quotaBytes: number;
}

/** `conflict`: the text is no longer what it was; `full`: the account has no room for what it would be. */
export type DocumentChange = 'done' | 'conflict' | 'full';

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

  /** Puts `text` in place of `before`, or, with null, where none is. */
  async change(
    key: string,
    before: string | null,
    text: string,
    account: DocumentAccount,
  ): Promise<DocumentChange> {
    const changed = await this.#change(key, before ?? '', text, account);
    return changed === 1 ? 'done' : changed === 0 ? 'conflict' : 'full';
  }

  /** False where there was nothing. */
  async delete(key: string, account: DocumentAccount): Promise<boolean> {
    return (await this.#change(key, '', '', account)) === 1;
  }

  close(): void {
    this.#client.disconnect();
  }

  #change(key: string, before: string, after: string, account: DocumentAccount): Promise<unknown> {
    const { sizes, expiries, quotaBytes } = account;
    const args = [before, after, this.#ttlMs, quotaBytes];
    return this.#ask(this.#client.eval(changeScript, 3, key, sizes, expiries, ...args));
  }

  async #ask<T>(answer: Promise<T>): Promise<T> {
    try {
      return await answer;
    } catch (error) {
      throw this.#health.unavailable(error);
    }
  }
}
