import { ScriptedEngine } from '@baton/engine/testing';
import { newId } from '@baton/protocol';
import { exampleJob } from '@baton/protocol/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { recordedLogger, TestFleet } from './test-fleet.ts';

let fleet: TestFleet;
beforeEach(async () => {
  fleet = await TestFleet.start();
});
afterEach(() => fleet.stop());

describe('a worker of another model', () => {
  it('leaves a generation to a worker of its model, also where that comes later', async () => {
    await fleet.startWorker('other', new ScriptedEngine(), { modelName: 'another' });
    const [id = ''] = await fleet.addJobs(1);
    await expect.poll(() => fleet.log.read(id)).not.toBeNull();
    await fleet.startWorker('right', new ScriptedEngine({ stepMs: 20 }));
    await expect.poll(() => fleet.ownerOf(id)).toBe('right');
    expect(await fleet.log.read(id)).toMatchObject({ epoch: 1, crashes: 0 });
  });

  it('ends a generation that was not begun in time', async () => {
    await fleet.startWorker('other', new ScriptedEngine(), { modelName: 'another' });
    const job = exampleJob({ id: newId('resp', 'default'), start_by: Date.now() - 1 });
    await fleet.queue.add(job);
    await expect
      .poll(async () => (await fleet.log.read(job.id))?.terminal)
      .toMatchObject({ kind: 'error', code: 'queue_timeout' });
  });
});

describe('a worker of the same model with another fingerprint', () => {
  it('goes on only where nobody runs the one before, and says so', async () => {
    const former = await fleet.startWorker('former', new ScriptedEngine({ slots: 1, stepMs: 20 }));
    const [moved = ''] = await fleet.addJobs(1);
    await expect.poll(() => fleet.ownerOf(moved)).toBe('former');
    const alike = await fleet.startWorker('alike', new ScriptedEngine({ slots: 1, stepMs: 20 }));
    const [occupant = ''] = await fleet.addJobs(1);
    await expect.poll(() => fleet.ownerOf(occupant)).toBe('alike');
    const engine = new ScriptedEngine({ stepMs: 20 });
    const [before, after] = [engine.model.fingerprint, 'f'.repeat(64)];
    const { logger, lines } = recordedLogger('warn');
    const newer = Object.assign(engine, { model: { ...engine.model, fingerprint: after } });
    await fleet.startWorker('newer', newer, { logger });
    await fleet.stopWorker(former);
    const putBack = { generation: moved, reason: expect.stringContaining(before) };
    await expect.poll(() => lines).toContainEqual(expect.objectContaining(putBack));
    await fleet.log.requestCancel(occupant);
    await expect.poll(() => fleet.ownerOf(moved)).toBe('alike');
    expect(await fleet.log.read(moved)).toMatchObject({ epoch: 2, crashes: 0 });
    await fleet.stopWorker(alike);
    await expect.poll(() => fleet.ownerOf(moved)).toBe('newer');
    const goesOn = { level: 40, generation: moved, epoch: 3, former: before, own: after };
    await expect.poll(() => lines).toContainEqual(expect.objectContaining(goesOn));
  });
});
