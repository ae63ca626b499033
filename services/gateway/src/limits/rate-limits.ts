import { type DependencyError, OverloadedError, RequestError } from '@baton/errors';
import { rateLimitPrefix } from '@baton/protocol';
import { connectRedis, RedisHealth } from '@baton/redis';
import type { Redis } from 'ioredis';
import { RateLimiterRedis, RateLimiterRes } from 'rate-limiter-flexible';

/** What one tenant may use in a minute; null: as much as it likes. */
export interface RateLimitSettings {
  readonly requestsPerMinute: number | null;
  readonly tokensPerMinute: number | null;
}

/** Tokens that a request counts with until it has ended. */
export interface Reservation {
  readonly tokens: number;
  /** When the minute ends in which they count. Milliseconds since the Unix epoch. */
  readonly until: number;
}

type Unit = 'requests' | 'tokens';
type SetHeader = (name: string, value: string | number) => void;

const windowSeconds = 60;

/**
 * Requests and tokens of each tenant in windows of a minute, counted in Redis for all gateways together. Methods throw
 * `DependencyError` while Redis is away.
 */
export class RateLimits {
  readonly #client: Redis;
  readonly #health: RedisHealth;
  readonly #limiters: ReadonlyMap<Unit, RateLimiterRedis>;

  private constructor(client: Redis, health: RedisHealth, settings: RateLimitSettings) {
    this.#client = client;
    this.#health = health;
    const limits = { requests: settings.requestsPerMinute, tokens: settings.tokensPerMinute };
    this.#limiters = new Map(
      (['requests', 'tokens'] as const).flatMap((unit) => {
        const points = limits[unit];
        if (points === null) return [];
        const keyPrefix = `${rateLimitPrefix}:${unit}`;
        return [
          [unit, new RateLimiterRedis({ storeClient: client, keyPrefix, points, duration: windowSeconds })],
        ];
      }),
    );
  }

  /** `onError` hears of each outage once. Throws `DependencyError` where Redis does not answer. */
  static async open(
    url: string,
    settings: RateLimitSettings,
    { onError = () => {} }: { onError?: (error: DependencyError) => void } = {},
  ): Promise<RateLimits> {
    const health = new RedisHealth(url, onError);
    const client = await connectRedis(url, health, {
      enableOfflineQueue: false,
      maxRetriesPerRequest: 0,
      commandTimeout: 5000,
    });
    return new RateLimits(client, health, settings);
  }

  /**
   * Counts one request, and `prompt` and `output` tokens, the most that it can come to. Tells through `setHeader` what is
   * left. Throws `OverloadedError` where too little is, and `RequestError` for a prompt larger than a whole minute's tokens.
   */
  async take(
    tenant: string,
    { prompt, output }: { readonly prompt: number; readonly output: number },
    setHeader: SetHeader,
  ): Promise<Reservation> {
    await this.#consume('requests', tenant, 1, setHeader);
    const most = this.#limiters.get('tokens')?.points ?? Number.POSITIVE_INFINITY;
    if (prompt > most) {
      throw new RequestError(
        'request_too_large',
        `the prompt has ${prompt} tokens, and only ${most} a minute are allowed`,
      );
    }
    const tokens = Math.min(prompt + output, most);
    const msLeft = await this.#consume('tokens', tenant, tokens, setHeader);
    return { tokens, until: Date.now() + msLeft };
  }

  /** Counts one request that needs no tokens. Throws `OverloadedError` where too few are left. */
  async takeRequest(tenant: string, setHeader: SetHeader): Promise<void> {
    await this.#consume('requests', tenant, 1, setHeader);
  }

  /** Gives back what a request did not need of what was reserved, as long as that counts. */
  async refund(tenant: string, { tokens, until }: Reservation, used: number): Promise<void> {
    const limiter = this.#limiters.get('tokens');
    if (!limiter || used >= tokens || Date.now() >= until) return;
    await limiter.reward(tenant, tokens - used).catch((error: unknown) => {
      throw this.#health.unavailable(error);
    });
  }

  async close(): Promise<void> {
    this.#client.disconnect();
  }

  /** Milliseconds until the window ends. */
  async #consume(unit: Unit, tenant: string, points: number, setHeader: SetHeader): Promise<number> {
    const limiter = this.#limiters.get(unit);
    if (!limiter) return 0;
    const result = await limiter.consume(tenant, points).catch((refusal: unknown) => {
      if (refusal instanceof RateLimiterRes) return refusal;
      throw this.#health.unavailable(refusal);
    });
    const { msBeforeNext, consumedPoints } = result;
    setHeader(`x-ratelimit-limit-${unit}`, limiter.points);
    setHeader(`x-ratelimit-remaining-${unit}`, Math.max(0, limiter.points - consumedPoints));
    setHeader(`x-ratelimit-reset-${unit}`, `${msBeforeNext / 1000}s`);
    if (consumedPoints <= limiter.points) return msBeforeNext;
    // A refused request must not keep others out.
    await limiter.reward(tenant, points).catch((error: unknown) => {
      throw this.#health.unavailable(error);
    });
    throw new OverloadedError(
      'rate_limit_exceeded',
      `${limiter.points} ${unit} a minute are allowed, and this one needs ${points} more than were left; try again in ${msBeforeNext / 1000} s`,
      msBeforeNext,
    );
  }
}
