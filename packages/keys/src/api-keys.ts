import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import type { DependencyError } from '@baton/errors';
import { apiKeysKey, parseMessage, tenantName } from '@baton/protocol';
import { connectRedis, RedisHealth } from '@baton/redis';
import type { Redis } from 'ioredis';
import { z } from 'zod';

/** `inference`: the OpenAI API. `admin`: operators' routes. */
export const scopes = ['inference', 'admin'] as const;
export type Scope = (typeof scopes)[number];

const storedKey = z.strictObject({
  v: z.literal(1),
  /** SHA-256 of the whole key, in hex. The key holds 256 random bits, so a slow hash would add nothing. */
  hash: z.string().regex(/^[0-9a-f]{64}$/),
  tenant: tenantName,
  scopes: z.array(z.enum(scopes)).min(1),
  /** What its owner calls it. */
  name: z.string(),
  /** Milliseconds since the Unix epoch. */
  created_at: z.int(),
});

/** A key as everybody but its owner knows it. */
export interface ApiKey {
  /** The part of the key that is no secret. */
  readonly id: string;
  readonly tenant: string;
  readonly scopes: readonly Scope[];
  readonly name: string;
  /** Milliseconds since the Unix epoch. */
  readonly createdAt: number;
}

export type NewKey = Pick<ApiKey, 'tenant' | 'scopes' | 'name'>;

/** `sk-baton-<id>-<secret>`: letters, digits, `-` and `_` only, as a WebSocket subprotocol may hold. */
const keyFormat = /^sk-baton-([0-9a-f]{16})-[\w-]{43}$/;

/**
 * API keys in Redis, of which only hashes are stored. Nothing is cached, so a revoked key is refused from the next request
 * on, by every gateway. Methods throw `DependencyError` while Redis is away.
 */
export class ApiKeys {
  readonly #client: Redis;
  readonly #health: RedisHealth;

  private constructor(client: Redis, health: RedisHealth) {
    this.#client = client;
    this.#health = health;
  }

  /** `onError` hears of each outage once. Throws `DependencyError` where Redis does not answer. */
  static async open(
    url: string,
    { onError = () => {} }: { onError?: (error: DependencyError) => void } = {},
  ): Promise<ApiKeys> {
    const health = new RedisHealth(url, onError);
    const client = await connectRedis(url, health, {
      enableOfflineQueue: false,
      maxRetriesPerRequest: 0,
      commandTimeout: 5000,
    });
    return new ApiKeys(client, health);
  }

  /** Makes a key. `key` is the whole of it, which nobody can tell again. */
  async create({ tenant, scopes, name }: NewKey): Promise<{ readonly id: string; readonly key: string }> {
    const id = randomBytes(8).toString('hex');
    const key = `sk-baton-${id}-${randomBytes(32).toString('base64url')}`;
    const stored = parseMessage(
      storedKey,
      { v: 1, hash: hashOf(key).toString('hex'), tenant, scopes, name, created_at: Date.now() },
      `key ${id}`,
    );
    await this.#ask(this.#client.hset(apiKeysKey, id, JSON.stringify(stored)));
    return { id, key };
  }

  /** All keys, the oldest first. */
  async list(): Promise<ApiKey[]> {
    const all = await this.#ask(this.#client.hgetall(apiKeysKey));
    return Object.entries(all)
      .map(([id, text]) => readKey(id, text).key)
      .toSorted((a, b) => a.createdAt - b.createdAt);
  }

  /** False where there is no such key. */
  async revoke(id: string): Promise<boolean> {
    return (await this.#ask(this.#client.hdel(apiKeysKey, id))) === 1;
  }

  /** Whose key this is; null for one that was never made, or that was revoked. */
  async find(key: string): Promise<ApiKey | null> {
    const [, id] = keyFormat.exec(key) ?? [];
    if (id === undefined) return null;
    const text = await this.#ask(this.#client.hget(apiKeysKey, id));
    if (text === null) return null;
    const found = readKey(id, text);
    return timingSafeEqual(hashOf(key), found.hash) ? found.key : null;
  }

  async close(): Promise<void> {
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

function hashOf(key: string): Buffer {
  return createHash('sha256').update(key).digest();
}

function readKey(id: string, text: string): { readonly key: ApiKey; readonly hash: Buffer } {
  const { hash, tenant, scopes, name, created_at } = parseMessage(storedKey, text, `${apiKeysKey} ${id}`);
  return { key: { id, tenant, scopes, name, createdAt: created_at }, hash: Buffer.from(hash, 'hex') };
}
