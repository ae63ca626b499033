import { ScriptedEngine } from '@baton/engine/testing';
import { FleetWatch, Heartbeat, serveCommands } from '@baton/fleet';
import { newId, type WorkerStatus } from '@baton/protocol';
import { exampleJob } from '@baton/protocol/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { recordedLogger, TestFleet } from './test-fleet.ts';

let fleet: TestFleet;
beforeEach(async () => {
  fleet = await TestFleet.start();
});
afterEach(() => fleet.stop());

describe('what a worker logs of a generation that changes hands', () => {
  function newLogger() {
    const { logger, lines } = recordedLogger('info');
    const logged = (line: object) =>
      expect.poll(() => lines).toContainEqual(expect.objectContaining({ level: 30, ...line }));
    return { logger, logged };
  }

  /** A worker that runs one generation, and what stops it. */
  async function leaving() {
    const { logger, logged } = newLogger();
    const worker = await fleet.startWorker('leaving', new ScriptedEngine({ stepMs: 20 }), { logger });
    const [generation = ''] = await fleet.addJobs(1);
    await expect.poll(() => fleet.ownerOf(generation)).toBe('leaving');
    return { generation, leave: () => fleet.stopWorker(worker), logged };
  }

  async function heard(name: string): Promise<void> {
    const watch = new FleetWatch(fleet.log.connection);
    await expect.poll(() => watch.running.map(({ worker }) => worker)).toContain(name);
    watch.close();
  }

  it('says where it goes, and from whom and why it comes', async () => {
    const { generation, leave, logged } = await leaving();
    const staying = newLogger();
    await fleet.startWorker('staying', new ScriptedEngine({ stepMs: 20 }), { logger: staying.logger });
    await heard('staying');
    await leave();
    await logged({ msg: 'released', generation, target: 'staying', reason: 'handed over' });
    await staying.logged({ msg: 'taken over', generation, cause: 'migration', former: 'leaving' });
  });

  it('says that it was lost', async () => {
    const { logger, logged } = newLogger();
    const job = exampleJob({ id: newId('resp', 'default') });
    await fleet.log.claim(job, 'lost');
    await fleet.startWorker('next', new ScriptedEngine(), { logger });
    await fleet.queue.add(job);
    await logged({ msg: 'taken over', generation: job.id, cause: 'failover', former: 'lost' });
  });

  it('says that nobody has room', async () => {
    const { generation, leave, logged } = await leaving();
    await leave();
    await logged({ msg: 'released', generation, reason: 'back to the queue: no other worker has room' });
  });

  it('says that it was refused', async () => {
    const { generation, leave, logged } = await leaving();
    const heartbeat = await Heartbeat.start(fleet.servers.nats.url);
    const status: WorkerStatus = {
      v: 1,
      worker: 'refusing',
      pid: process.pid,
      host: 'here',
      state: 'running',
      device: 'cpu',
      model: exampleJob().model,
      fingerprint: new ScriptedEngine().model.fingerprint,
      slots: 1,
      generations: [],
    };
    const stopCommands = serveCommands(fleet.log.connection, 'refusing', ({ kind }) => ({
      done: kind === 'prepare',
      reason: 'no, thank you',
    }));
    heartbeat.say(status);
    await heard('refusing');
    await leave();
    const reason = 'back to the queue: the offer was refused: no, thank you';
    await logged({ msg: 'released', generation, target: 'refusing', reason });
    stopCommands();
    await heartbeat.stop({ ...status, state: 'stopped' });
  });
});
