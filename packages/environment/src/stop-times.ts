import type { Environment } from './load-env.ts';

/** How long a gateway may be held up by cancelling what nobody can read any more. */
export const tidyUpMs = 1000;
/** How long closing what a service has open may take, where Redis or NATS does not answer. */
const gatewayCloseMs = 5000;
/** The same of a worker, which gives its jobs back first. */
const workerCloseMs = 10_000;
/** How long sending the last telemetry may take. */
const telemetryMs = 2000;

/** The most that stopping takes a service: what it was doing, then its last telemetry. */
export interface StopTimes {
  readonly workMs: number;
  readonly telemetryMs: number;
}

/** Of a gateway: its streams, whoever may come back to them, and what it has open. */
export function gatewayStopTimes(
  env: Environment<'BATON_SHUTDOWN_TIMEOUT' | 'BATON_DISCONNECT_GRACE'>,
): StopTimes {
  const seconds = env.BATON_SHUTDOWN_TIMEOUT + env.BATON_DISCONNECT_GRACE;
  return { workMs: seconds * 1000 + tidyUpMs + gatewayCloseMs, telemetryMs };
}

/** Of a worker: handing over, and what it has open. */
export function workerStopTimes(env: Environment<'BATON_DRAIN_TIMEOUT'>): StopTimes {
  return { workMs: env.BATON_DRAIN_TIMEOUT * 1000 + workerCloseMs, telemetryMs };
}

/** Waits for `work`, for `timeoutMs` at most; false where that was not enough. */
export async function inTime(work: Promise<unknown>, timeoutMs: number): Promise<boolean> {
  const late = Symbol();
  const { promise, resolve } = Promise.withResolvers<typeof late>();
  const timer = setTimeout(() => resolve(late), timeoutMs);
  try {
    return (await Promise.race([work, promise])) !== late;
  } finally {
    clearTimeout(timer);
  }
}
