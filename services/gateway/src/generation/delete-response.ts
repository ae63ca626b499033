import { NotFoundError } from '@baton/errors';
import { gatewayOwner } from '@baton/protocol';
import type { TenantGateway } from '../gateway.ts';
import { recordEnd } from '../record.ts';
import { readResponseEcho } from '../render/response-object.ts';
import { cancelGeneration } from './cancel.ts';
import { changeConversation } from './conversation-store.ts';
import { forgetInMemory } from './forget-state.ts';
import { readResponse } from './stored-responses.ts';
import { nameReturn } from './submit.ts';

/**
 * Forgets a response, its log and its state; one that still runs is stopped. Throws `NotFoundError` where there is none that
 * this client may see.
 */
export async function deleteResponse(gateway: TenantGateway, responseId: string): Promise<void> {
  const { state, job } = await readResponse(gateway, responseId);
  nameReturn(state);
  await cancelGeneration(gateway, job);
  const { conversation } = readResponseEcho(job);
  if (conversation !== null) await keepItems(gateway, conversation);
  // Also where its worker was lost or does not answer: without its log it would be begun anew.
  if ((await gateway.log.end(job, gatewayOwner)) === 'appended') recordEnd('cancelled');
  // Before the log, without which nobody could try again.
  await gateway.snapshots?.delete(job.tenant, responseId);
  await gateway.log.delete(responseId);
  forgetInMemory(gateway, job);
}

/** What a response has added to a conversation stays there without it. */
async function keepItems(gateway: TenantGateway, conversationId: string): Promise<void> {
  try {
    await changeConversation(gateway, conversationId, (conversation) => conversation);
  } catch (error) {
    if (!(error instanceof NotFoundError)) throw error;
  }
}
