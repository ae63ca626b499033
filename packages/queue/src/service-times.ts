import { serviceTimesKey } from '@baton/protocol';
import type { Redis } from 'ioredis';

/** How many of the latest generations the mean is of. */
const remembered = 64;

/** Notes how long a worker was busy with a generation. */
export async function noteServiceTime(client: Redis, milliseconds: number): Promise<void> {
  await client
    .multi()
    .lpush(serviceTimesKey, milliseconds)
    .ltrim(serviceTimesKey, 0, remembered - 1)
    .exec();
}

/** Mean milliseconds of the latest generations; null while there were none. */
export async function meanServiceTime(client: Redis): Promise<number | null> {
  const times = (await client.lrange(serviceTimesKey, 0, -1)).map(Number);
  return times.length === 0 ? null : times.reduce((sum, time) => sum + time, 0) / times.length;
}
