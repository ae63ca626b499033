import { ScriptedEngine } from '@baton/engine/testing';
import { commandWorker } from '@baton/fleet';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { TestFleet } from './test-fleet.ts';

let fleet: TestFleet;
beforeEach(async () => {
  fleet = await TestFleet.start();
});
afterEach(() => fleet.stop());

describe('a worker with little memory for states', () => {
  /** An engine of eight slots whose memory has room for two sequences of full length, and for `fitting` of those it is given. */
  function tightEngine(fitting: number): ScriptedEngine {
    const engine = new ScriptedEngine({ slots: fitting, stepMs: 20 });
    const { stateBytes } = engine.capacity;
    const capacity = { ...engine.capacity, slots: 8, stateBytesLimit: 2 * stateBytes.full };
    return Object.assign(engine, { capacity });
  }

  it('leaves to others what it cannot begin with', async () => {
    const tight = await fleet.startWorker('tight', tightEngine(2));
    await fleet.addJobs(6);
    await expect.poll(() => tight.active).toBeGreaterThanOrEqual(2);
    const roomy = await fleet.startWorker('roomy', new ScriptedEngine({ stepMs: 20 }));
    // One waits there to learn whether it fits.
    await expect.poll(() => [tight.active, roomy.active]).toEqual([3, 3]);
  });

  it('runs as many as fit', async () => {
    const tight = await fleet.startWorker('tight', tightEngine(8));
    await fleet.addJobs(8);
    await expect.poll(() => tight.active).toBe(8);
  });
});

describe('a worker where a generation of another one stands by', () => {
  it('leaves its slot free of what waits in the queue', async () => {
    const leaving = await fleet.startWorker('leaving', new ScriptedEngine({ slots: 1, stepMs: 20 }));
    const [moved = ''] = await fleet.addJobs(1);
    await expect.poll(() => leaving.active).toBe(1);
    const staying = await fleet.startWorker('staying', new ScriptedEngine({ slots: 2, stepMs: 20 }));
    const prepare = { v: 1, kind: 'prepare', generation: moved } as const;
    expect(await commandWorker(fleet.log.connection, 'staying', prepare)).toMatchObject({ done: true });
    await fleet.addJobs(4);
    await expect.poll(() => staying.active).toBe(1);
    await fleet.stopWorker(leaving);
    await expect.poll(() => fleet.ownerOf(moved)).toBe('staying');
    expect(staying.active).toBe(2);
  });
});
