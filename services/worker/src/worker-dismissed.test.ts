import { ScriptedEngine } from '@baton/engine/testing';
import { commandWorker } from '@baton/fleet';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { longJob, TestFleet } from './test-fleet.ts';

let fleet: TestFleet;
beforeEach(async () => {
  fleet = await TestFleet.start();
});
afterEach(() => fleet.stop());

describe('a generation that stands by, and whose job goes back to the queue', () => {
  /** A generation whose owner is this test, and that stands by at a worker with one slot. */
  async function standingBy() {
    const staying = await fleet.startWorker('staying', new ScriptedEngine({ slots: 1, stepMs: 20 }));
    const job = longJob();
    const { writer } = await fleet.log.claim(job, 'former');
    await writer?.append({ kind: 'tokens', tokens: [1], text: 'a' });
    const tell = (
      command: { readonly kind: 'prepare' } | { readonly kind: 'adopt'; readonly lock_token: string },
    ) => commandWorker(fleet.log.connection, 'staying', { v: 1, generation: job.id, ...command });
    expect(await tell({ kind: 'prepare' })).toMatchObject({ done: true });
    const release = async () => {
      await writer?.append({ kind: 'released' });
    };
    const refuseToAdopt = async () => {
      expect(await tell({ kind: 'adopt', lock_token: 'of nobody' })).toMatchObject({ done: false });
    };
    return { staying, job, release, refuseToAdopt };
  }

  it('is released again where it runs already', async () => {
    const { staying, job, release, refuseToAdopt } = await standingBy();
    await release();
    await expect.poll(() => fleet.ownerOf(job.id)).toBe('staying');
    await refuseToAdopt();
    await expect.poll(() => fleet.ownerOf(job.id)).toBeNull();
    await expect.poll(() => staying.active).toBe(0);
    // Then it comes by the queue.
    await fleet.queue.add(job);
    await expect.poll(() => fleet.ownerOf(job.id)).toBe('staying');
  });

  it('is not claimed where it does not run yet, and leaves its slot', async () => {
    const { job, release, refuseToAdopt } = await standingBy();
    await refuseToAdopt();
    const [other = ''] = await fleet.addJobs(1);
    await expect.poll(() => fleet.ownerOf(other)).toBe('staying');
    await release();
    expect(await fleet.ownerOf(job.id)).toBeNull();
  });
});
