import { OverloadedError } from '@baton/errors';
import type { GenerationJob } from '@baton/protocol';
import type { TenantGateway } from '../gateway.ts';
import type { Reservation } from './rate-limits.ts';

/** Long enough for a worker to finish something, short enough to be tried: where nobody knows how long they take. */
const unknownServiceMs = 1000;

/**
 * Lets one request's jobs in, or throws `OverloadedError`: 429 where their tenant has as much as it may, 503 where the
 * queue has no room or would keep them waiting longer than anybody waits. Gives what each counts with, null without limits.
 */
export async function admit(
  gateway: TenantGateway,
  jobs: readonly GenerationJob[],
): Promise<Reservation | null> {
  const { tenant, rateLimits, setHeader } = gateway;
  const sum = (count: (job: GenerationJob) => number) => jobs.reduce((total, job) => total + count(job), 0);
  const tokens = {
    prompt: sum(({ prompt }) => prompt.length),
    output: sum(({ sampling }) => sampling.max_tokens),
  };
  const reservation = (await rateLimits?.take(tenant, tokens, setHeader)) ?? null;
  try {
    await takeRoom(gateway, jobs);
  } catch (error) {
    if (reservation) await rateLimits?.refund(tenant, reservation, 0);
    throw error;
  }
  return reservation;
}

async function takeRoom(
  { queue, fleet, tenant, settings }: TenantGateway,
  jobs: readonly GenerationJob[],
): Promise<void> {
  const { queueLimit, queueTimeoutMs, tenantGenerations } = settings;
  const { ahead, waiting, active, serviceMs } = await queue.outlook(tenant);
  const slots = fleet.running.reduce((sum, worker) => sum + worker.slots, 0);
  /** Between two generations that come to an end. */
  const paceMs = (serviceMs ?? unknownServiceMs) / Math.max(1, slots);
  const overfull = waiting + jobs.length - queueLimit;
  if (overfull > 0) {
    throw new OverloadedError(
      'overloaded',
      `${waiting} generations are waiting and at most ${queueLimit} may; try again later`,
      inWholeSteps(overfull * paceMs),
    );
  }
  const before = ahead + jobs.length - Math.max(0, slots - active);
  // Without workers, or before the first has finished anything, nobody knows.
  const waitMs = serviceMs === null || slots === 0 ? 0 : Math.max(0, before) * paceMs;
  if (waitMs > queueTimeoutMs) {
    throw new OverloadedError(
      'overloaded',
      `this would wait about ${Math.round(waitMs / 1000)} s for a worker, longer than ${queueTimeoutMs / 1000} s; try again later`,
      inWholeSteps(waitMs - queueTimeoutMs),
    );
  }
  const ids = jobs.map(({ id }) => id);
  if (!(await queue.takePlaces(tenant, ids, tenantGenerations))) {
    throw new OverloadedError(
      'rate_limit_exceeded',
      `at most ${tenantGenerations} generations of one tenant may wait and run at once; let some of them end`,
      inWholeSteps(serviceMs ?? unknownServiceMs),
    );
  }
}

/** Whole tenths of seconds, one at least: what an estimate can claim. */
function inWholeSteps(milliseconds: number): number {
  return Math.max(1, Math.ceil(milliseconds / 100)) * 100;
}
