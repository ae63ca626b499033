import { FencedError, ServerError } from '@baton/errors';
import type { Gateway } from '../gateway.ts';

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
    if (refusal !== null) return await giveUp(gateway, generationId, refusal);
    await queue.add(state.job);
    logger.warn({ generation: generationId }, 'put back a generation that the queue had lost');
  } catch (error) {
    logger.warn({ err: error, generation: generationId }, 'cannot look after a generation yet');
  }
  return false;
}

async function giveUp({ log, logger }: Gateway, generationId: string, reason: string): Promise<boolean> {
  const error = new ServerError(`the generation was given up: ${reason}`);
  try {
    await log.appendError(generationId, error, 'gateway');
  } catch (failure) {
    // Somebody has it after all.
    if (failure instanceof FencedError) return false;
    throw failure;
  }
  logger.error({ generation: generationId, reason }, 'ended a generation that the queue had given up');
  return true;
}

/** Looks after generations that nobody may follow, together with all other gateways. Gives a function that ends it. */
export async function startSweeping(gateway: Gateway): Promise<() => Promise<void>> {
  return gateway.log.watchOpen((id) => reconcile(gateway, id), gateway.settings.sweepEveryMs);
}
