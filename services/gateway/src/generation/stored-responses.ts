import { NotFoundError } from '@baton/errors';
import { type GenerationJob, generationId, type LogState } from '@baton/protocol';
import type { Gateway } from '../gateway.ts';
import { readResponseEcho } from '../render/response-object.ts';
import { defaultTenant } from '../tenant.ts';
import { cancelGeneration } from './cancel.ts';

/**
 * A stored response's log so far and its job. Throws `NotFoundError`, naming the field or parameter `param`, where there is
 * none that this client may see.
 */
export async function readResponse(
  gateway: Gateway,
  responseId: string,
  param = 'response_id',
): Promise<{ state: LogState; job: GenerationJob }> {
  const state = await findResponse(gateway, responseId);
  if (state?.job) return { state, job: state.job };
  throw new NotFoundError('response_not_found', `there is no response ${responseId}, or no longer`, param);
}

/** Null where there is no response that this client may see, or no longer. */
export async function findResponse(gateway: Gateway, responseId: string): Promise<LogState | null> {
  if (!generationId.safeParse(responseId).success) return null;
  const state = await gateway.log.read(responseId);
  if (state?.job?.endpoint !== 'responses' || state.job.tenant !== defaultTenant) return null;
  return readResponseEcho(state.job).store ? state : null;
}

/**
 * Forgets a response, its log and its state; one that still runs is stopped. Throws `NotFoundError` where there is none that
 * this client may see.
 */
export async function deleteResponse(gateway: Gateway, responseId: string): Promise<void> {
  const { job } = await readResponse(gateway, responseId);
  await gateway.queue.remove(responseId);
  await cancelGeneration(gateway, job);
  await gateway.log.delete(responseId);
  await gateway.snapshots?.delete(job.tenant, responseId);
}
