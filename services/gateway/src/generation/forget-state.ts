import type { GenerationJob } from '@baton/protocol';
import type { Gateway } from '../gateway.ts';

/** Takes what is stored of a generation that nobody goes on from out of the store; from one that is away it goes with its time to live. */
export function forgetState({ snapshots, tasks, logger }: Gateway, { tenant, id }: GenerationJob): void {
  if (snapshots === null) return;
  void tasks.run(async () => {
    await snapshots.delete(tenant, id).catch((error: unknown) => {
      logger.warn({ err: error, generation: id }, 'the state of what has ended stays until its time is over');
    });
  });
}
