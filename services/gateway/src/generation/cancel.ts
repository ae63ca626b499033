import { FencedError } from '@baton/errors';
import { type GenerationJob, gatewayOwner, type LogState } from '@baton/protocol';
import type { Gateway } from '../gateway.ts';
import { recordEnd } from '../record.ts';
import { follow } from './follow.ts';
import { forgetState } from './forget-state.ts';
import { subscribe } from './submit.ts';

/** How long to wait for the end: an owner meets a cancel at its next token, and while it prefills soon, too. */
const patienceMs = 2000;

/** Stops a generation, wherever it is: running, or waiting, where it ends at once. */
export async function requestCancel(gateway: Gateway, job: GenerationJob): Promise<void> {
  const { log, queue } = gateway;
  const asked = await log.requestCancel(job.id);
  if (asked !== 'requested' || !(await queue.remove(job))) return;
  try {
    if ((await log.appendCancelled(job, gatewayOwner)) === 'appended') recordEnd('cancelled');
  } catch (error) {
    // A worker had it after all, and meets the cancel.
    if (error instanceof FencedError) return;
    throw error;
  }
  if (!job.continuable) forgetState(gateway, job);
}

/**
 * Stops a generation and gives its log as it then is: ended, or where its worker was lost to be ended by whoever takes it
 * next.
 */
export async function cancelGeneration(gateway: Gateway, job: GenerationJob): Promise<Readonly<LogState>> {
  await requestCancel(gateway, job);
  const generation = await subscribe(gateway, job);
  const patience = AbortSignal.timeout(patienceMs);
  try {
    const signal = AbortSignal.any([gateway.stopping, patience]);
    for await (const _ of follow(gateway, generation, signal));
  } catch (error) {
    if (error !== patience.reason) throw error;
  } finally {
    generation.feed.close();
  }
  return generation.feed.state;
}
