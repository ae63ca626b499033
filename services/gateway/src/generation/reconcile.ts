import { FencedError, ServerError } from '@baton/errors';
import { type GenerationJob, gatewayOwner } from '@baton/protocol';
import type { Gateway } from '../gateway.ts';
import { recordEnd } from '../record.ts';
import { forgetState } from './forget-state.ts';

/**
 * Sees to it that a generation will end: adds its job again where the queue has lost it, as a Redis restart may lose its last
 * second, and ends it with an error where the queue has given it up. True once it has ended, or is not there any more.
 */
export async function reconcile(gateway: Gateway, generationId: string): Promise<boolean> {
  const { queue, log, logger } = gateway;
  try {
    // The queue first: a job leaves it only after its log has ended.
    const [known, refusal] = [await queue.has(generationId), await queue.refusal(generationId)];
    if (known && refusal === null) return false;
    const state = await log.read(generationId);
    if (!state?.job || state.terminal) return true;
    if (refusal !== null) return await giveUp(gateway, state.job, refusal);
    await queue.add(state.job);
    logger.warn({ generation: generationId }, 'put back a generation that the queue had lost');
  } catch (error) {
    logger.warn({ err: error, generation: generationId }, 'cannot look after a generation yet');
  }
  return false;
}

async function giveUp(gateway: Gateway, job: GenerationJob, reason: string): Promise<boolean> {
  const { log, logger } = gateway;
  const error = new ServerError(`the generation was given up: ${reason}`);
  try {
    if ((await log.appendError(job.id, error, gatewayOwner)) !== 'appended') return true;
    recordEnd(error.code);
  } catch (failure) {
    // Somebody has it after all.
    if (failure instanceof FencedError) return false;
    throw failure;
  }
  forgetState(gateway, job);
  logger.error({ generation: job.id, reason }, 'ended a generation that the queue had given up');
  return true;
}

/** Looks after generations that nobody may follow, together with all other gateways. Gives a function that ends it. */
export async function startSweeping(gateway: Gateway): Promise<() => Promise<void>> {
  return gateway.log.watchOpen((id) => reconcile(gateway, id), gateway.settings.sweepEveryMs);
}
