import { DelayedError, type Job, UnrecoverableError, WaitingError } from 'bullmq';
import { moveToFront } from './move-to-front.ts';

/** How long a job waits after an attempt that may succeed later. */
const retryMs = 1000;

/** What becomes of a job that was taken. */
export type Fate =
  /** Its log says everything now: out of the queue. */
  | { readonly kind: 'done' }
  /** Kept in the failed set to be looked at. */
  | { readonly kind: 'refused'; readonly reason: string }
  | { readonly kind: 'handed back' }
  /** To a worker that takes its lock over, or else back. */
  | { readonly kind: 'handed over'; readonly offer: (lockToken: string) => Promise<boolean> }
  | { readonly kind: 'later' }
  /** This worker has it again, under another lock: what becomes of it is that run's to say. */
  | { readonly kind: 'taken anew' };

/**
 * Tells BullMQ, which takes a fate other than completion as an error once the job has been moved. A job that cannot be
 * moved just stays: its lock runs out and the stalled check puts it back.
 */
export async function applyFate(queued: Job<unknown>, token: string, fate: Fate): Promise<void> {
  switch (fate.kind) {
    case 'done':
      return;
    case 'refused':
      throw new UnrecoverableError(fate.reason);
    case 'handed over':
      if (await fate.offer(token).catch(() => false)) throw new WaitingError();
      return applyFate(queued, token, { kind: 'handed back' });
    case 'handed back':
      await moveToFront(queued, token).catch(() => {});
      throw new WaitingError();
    case 'later':
      await queued.moveToDelayed(Date.now() + retryMs, token).catch(() => {});
      throw new DelayedError();
    case 'taken anew':
      throw new WaitingError();
  }
}
