import { tenantGenerationsKey } from '@baton/protocol';
import type { Redis } from 'ioredis';

/** Ids of each tenant's generations that wait or run, so that no tenant has more of them than it may. */
export class TenantPlaces {
  readonly #client: Redis;
  readonly #jobKey: (id: string) => string;

  /** `jobKey`: where BullMQ keeps a job. */
  constructor(client: Redis, jobKey: (id: string) => string) {
    this.#client = client;
    this.#jobKey = jobKey;
  }

  /** Takes a place for each id, or none: false where the tenant would have more than `limit`. */
  async take(tenant: string, ids: readonly string[], limit: number): Promise<boolean> {
    const key = tenantGenerationsKey(tenant);
    return (await this.#client.eval(take, 1, key, limit, this.#jobKey(''), ...ids)) === 1;
  }
}

export async function leavePlace(client: Redis, tenant: string, id: string): Promise<void> {
  await client.srem(tenantGenerationsKey(tenant), id);
}

/** Where there seems to be no place, those are given up whose job is gone: whoever should have left them was killed. */
const take = `
local limit, wanted = tonumber(ARGV[1]), #ARGV - 2
if redis.call('SCARD', KEYS[1]) + wanted > limit then
  for _, id in ipairs(redis.call('SMEMBERS', KEYS[1])) do
    if redis.call('EXISTS', ARGV[2] .. id) == 0 then redis.call('SREM', KEYS[1], id) end
  end
end
if redis.call('SCARD', KEYS[1]) + wanted > limit then return 0 end
for i = 3, #ARGV do redis.call('SADD', KEYS[1], ARGV[i]) end
return 1`;
