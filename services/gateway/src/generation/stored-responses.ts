import { NotFoundError } from '@baton/errors';
import { carriesTagOf, type GenerationJob, generationId, type LogState } from '@baton/protocol';
import type { Item } from '../api/items.ts';
import type { TenantGateway } from '../gateway.ts';
import { itemsOfOutput } from '../render/output-items.ts';
import { readResponseEcho } from '../render/response-object.ts';

/**
 * A response's log so far and its job, to follow it: also one that is not stored, whose client may have lost its connection.
 * Throws as `readResponse`.
 */
export async function readFollowed(
  gateway: TenantGateway,
  responseId: string,
): Promise<{ state: LogState; job: GenerationJob }> {
  const state = await findAny(gateway, responseId);
  if (state?.job) return { state, job: state.job };
  throw notFound(responseId, 'response_id');
}

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
  throw notFound(responseId, param);
}

/** Null where there is no response that this client may see, or no longer. */
export async function findResponse(gateway: TenantGateway, responseId: string): Promise<LogState | null> {
  const state = await findAny(gateway, responseId);
  return state?.job && readResponseEcho(state.job).store ? state : null;
}

async function findAny(gateway: TenantGateway, responseId: string): Promise<LogState | null> {
  if (!generationId.safeParse(responseId).success || !carriesTagOf(gateway.tenant, responseId)) return null;
  const state = await gateway.log.read(responseId);
  if (state?.job?.endpoint !== 'responses' || state.job.tenant !== gateway.tenant) return null;
  return state;
}

function notFound(responseId: string, param: string): NotFoundError {
  return new NotFoundError('response_not_found', `there is no response ${responseId}, or no longer`, param);
}

const itemId = /^(?:msg|fc|fco)_([0-9a-f]{32})(?:_(in_)?(\d{1,4}))?$/;

/** The response that an item belongs to by its id; null where it belongs to none. */
export function responseOfItem(id: string): string | null {
  const [, hex] = itemId.exec(id) ?? [];
  return hex === undefined ? null : `resp_${hex}`;
}

/** Of items of one stored response, by their ids: those that it was asked with, or that it put out and finished. */
export async function findItems(
  gateway: TenantGateway,
  responseId: string,
  ids: readonly string[],
): Promise<Map<string, Item>> {
  const found = new Map<string, Item>();
  const state = await findResponse(gateway, responseId);
  if (!state?.job) return found;
  const { input, tool_calls } = readResponseEcho(state.job);
  const output = state.terminal === null ? [] : itemsOfOutput(state, tool_calls);
  for (const id of ids) {
    const [, , isInput, index = '0'] = itemId.exec(id) ?? [];
    const item = (isInput ? input : output)[Number(index)];
    if (item) found.set(id, item);
  }
  return found;
}
