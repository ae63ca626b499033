import { BatonError, DependencyError } from '@baton/errors';
import { JetStreamApiError, JetStreamError } from '@nats-io/jetstream';
import { RequestError, TimeoutError } from '@nats-io/transport-node';
import pRetry from 'p-retry';

/** The server said that the stream has moved on, but what it moved to cannot be read yet (a lagging replica). */
export class StaleReadError extends Error {}

/**
 * Runs `attempt` again, with bounded back-off, while NATS does not answer or has no leader. After `deadlineMs`, or on
 * any other error of NATS, throws `DependencyError`; errors of Baton, and mistakes in code, pass unchanged.
 */
export async function whileUnavailable<T>(
  action: string,
  attempt: () => Promise<T>,
  { deadlineMs, signal }: { deadlineMs: number; signal?: AbortSignal | undefined },
): Promise<T> {
  try {
    return await pRetry(attempt, {
      retries: Number.POSITIVE_INFINITY,
      minTimeout: 20,
      maxTimeout: 500,
      randomize: true,
      maxRetryTime: deadlineMs,
      shouldRetry: ({ error }) => isTransient(error),
      ...(signal && { signal }),
    });
  } catch (error) {
    if (error instanceof BatonError || error instanceof TypeError || signal?.aborted) throw error;
    const reason = error instanceof Error ? error.message : String(error);
    throw new DependencyError('nats', `cannot ${action}: ${reason}`, { cause: error });
  }
}

function isTransient(error: unknown): boolean {
  if (error instanceof JetStreamApiError) return error.status === 503;
  return (
    error instanceof TimeoutError ||
    error instanceof RequestError ||
    // While a server starts, nobody answers for JetStream yet.
    (error instanceof Error && error.cause instanceof RequestError) ||
    // A status instead of an answer, such as 503 from a stream without a leader.
    error instanceof JetStreamError ||
    error instanceof StaleReadError
  );
}
