import { commandWorker } from '@baton/fleet';
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

/** Has all workers keep nothing in memory of a generation that was deleted. Whoever does not hear of it does so until it needs the room. */
export function forgetInMemory({ fleet, log, tasks, logger }: Gateway, { tenant, id }: GenerationJob): void {
  for (const { worker } of fleet.workers) {
    void tasks.run(async () => {
      const command = { v: 1, kind: 'forget', tenant, generation: id } as const;
      await commandWorker(log.connection, worker, command).catch((error: unknown) => {
        logger.debug({ err: error, generation: id }, 'a worker does not hear that a generation was deleted');
      });
    });
  }
}
