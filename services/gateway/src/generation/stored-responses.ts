import { NotFoundError } from '@baton/errors';
import { type GenerationJob, generationId, type LogState } from '@baton/protocol';
import type { Item } from '../api/items.ts';
import type { TenantGateway } from '../gateway.ts';
import { itemsOfOutput } from '../render/output-items.ts';
import { readResponseEcho } from '../render/response-object.ts';
import { cancelGeneration } from './cancel.ts';

/**
 * A stored response's log so far and its job. Throws `NotFoundError`, naming the field or parameter `param`, where there is
 * none that this client may see.
 */
export async function readResponse(
  gateway: TenantGateway,
  responseId: string,
  param = 'response_id',
): Promise<{ state: LogState; job: GenerationJob }> {
  const state = await findResponse(gateway, responseId);
  if (state?.job) return { state, job: state.job };
  throw new NotFoundError('response_not_found', `there is no response ${responseId}, or no longer`, param);
}

/** Null where there is no response that this client may see, or no longer. */
export async function findResponse(gateway: TenantGateway, responseId: string): Promise<LogState | null> {
  if (!generationId.safeParse(responseId).success) return null;
  const state = await gateway.log.read(responseId);
  if (state?.job?.endpoint !== 'responses' || state.job.tenant !== gateway.tenant) return null;
  return readResponseEcho(state.job).store ? state : null;
}

const itemId = /^(?:msg|fc|fco)_([0-9a-f]{32})(?:_(in_)?(\d{1,4}))?$/;

/** An item that a stored response was asked with, or that it put out and finished; null where there is none. */
export async function findItem(gateway: TenantGateway, id: string): Promise<Item | null> {
  const [, hex, isInput, index = '0'] = itemId.exec(id) ?? [];
  const state = hex === undefined ? null : await findResponse(gateway, `resp_${hex}`);
  if (!state?.job) return null;
  const { input, tool_calls } = readResponseEcho(state.job);
  if (!isInput && state.terminal === null) return null;
  return (isInput ? input : itemsOfOutput(state, tool_calls))[Number(index)] ?? null;
}

/**
 * Forgets a response, its log and its state; one that still runs is stopped. Throws `NotFoundError` where there is none that
 * this client may see.
 */
export async function deleteResponse(gateway: TenantGateway, responseId: string): Promise<void> {
  const { job } = await readResponse(gateway, responseId);
  await gateway.queue.remove(responseId);
  await cancelGeneration(gateway, job);
  await gateway.log.delete(responseId);
  await gateway.snapshots?.delete(job.tenant, responseId);
}
