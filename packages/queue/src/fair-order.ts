import { fairOrderKey } from '@baton/protocol';
import type { Redis } from 'ioredis';

/** BullMQ's lowest priority; 1 is its highest. */
const lastTurn = 2 ** 21 - 1;

/**
 * The order in which tenants' jobs are taken: start-time fair queueing (Goyal, Vin, Cheng 1996) with every job of equal
 * weight. A job's turn, its priority in BullMQ, is the one after its tenant's last, or that of the job taken latest where
 * the tenant has none waiting; so a tenant's first job goes before any other's second from then on, however many wait.
 */
export class FairOrder {
  readonly #client: Redis;
  readonly #waitingKey: string;

  /** `waitingKey`: BullMQ's sorted set of waiting jobs. */
  constructor(client: Redis, waitingKey: string) {
    this.#client = client;
    this.#waitingKey = waitingKey;
  }

  /** The turn of a job that is about to be added. */
  async next(tenant: string): Promise<number> {
    return Number(await this.#client.eval(nextTurn, 2, fairOrderKey, this.#waitingKey, tenant, lastTurn));
  }

  /** How many jobs would be taken before one that `tenant` added now. */
  async ahead(tenant: string): Promise<number> {
    return Number(await this.#client.eval(countAhead, 2, fairOrderKey, this.#waitingKey, tenant));
  }
}

/** A job with this turn was taken. */
export async function turnTaken(client: Redis, turn: number): Promise<void> {
  await client.eval(advance, 1, fairOrderKey, turn);
}

/**
 * Turns only grow, and BullMQ's priorities end. Once half of them are used, counting starts again at the first moment when
 * nothing waits; should that never come, jobs are taken as they came from the last one on.
 */
const nextTurn = `
local now = tonumber(redis.call('HGET', KEYS[1], 'taken') or 1)
local last = tonumber(redis.call('HGET', KEYS[1], 'tenant:' .. ARGV[1]) or 0)
local most = tonumber(ARGV[2])
if now > most / 2 and redis.call('ZCARD', KEYS[2]) == 0 then
  redis.call('DEL', KEYS[1])
  now, last = 1, 0
end
local turn = math.min(math.max(now, last + 1), most)
redis.call('HSET', KEYS[1], 'tenant:' .. ARGV[1], turn)
return turn`;

const advance = `
local turn = tonumber(ARGV[1])
if turn > tonumber(redis.call('HGET', KEYS[1], 'taken') or 1) then redis.call('HSET', KEYS[1], 'taken', turn) end`;

/** BullMQ's scores are priority × 2^32 + a counter. */
const countAhead = `
local now = tonumber(redis.call('HGET', KEYS[1], 'taken') or 1)
local last = tonumber(redis.call('HGET', KEYS[1], 'tenant:' .. ARGV[1]) or 0)
local turn = math.max(now, last + 1)
return redis.call('ZCOUNT', KEYS[2], '-inf', '(' .. string.format('%.0f', (turn + 1) * 4294967296))`;
