import type { Job } from 'bullmq';

/**
 * Puts a job that runs back before all that wait: its turn among the tenants has been taken. It goes without a priority,
 * since for a job that goes back to its priority BullMQ wakes no worker, and those that wait look again only after seconds.
 */
export async function moveToFront(job: Job<unknown>, lockToken?: string): Promise<void> {
  await job.changePriority({ priority: 0 });
  await job.moveToWait(lockToken);
}
