import type { GenerationJob, LogState } from '@baton/protocol';
import type { Gateway } from '../gateway.ts';
import { follow, leave } from './follow.ts';
import { subscribe } from './submit.ts';

/** How long to wait for the end: an owner meets a cancel at its next token. */
const patienceMs = 2000;

/**
 * Stops a generation, wherever it is, and gives its log as it then is: ended, or where nobody runs it to be ended by whoever
 * takes it next.
 */
export async function cancelGeneration(gateway: Gateway, job: GenerationJob): Promise<Readonly<LogState>> {
  await gateway.log.requestCancel(job.id);
  const generation = await subscribe(gateway, job);
  const patience = AbortSignal.timeout(patienceMs);
  try {
    const signal = AbortSignal.any([gateway.stopping, patience]);
    for await (const _ of follow(gateway, generation, signal));
  } catch (error) {
    if (error !== patience.reason) throw error;
  } finally {
    await leave(gateway, [generation], { cancel: false });
  }
  return generation.feed.state;
}
