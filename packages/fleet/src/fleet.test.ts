import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { DependencyError } from '@baton/errors';
import { connectNats } from '@baton/log';
import { heartbeatSubject, type WorkerCommand, type WorkerStatus } from '@baton/protocol';
import { startTcpProxy, startTestNats, type TestServer } from '@baton/testing';
import type { NatsConnection } from '@nats-io/transport-node';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { commandWorker, serveCommands } from './commands.ts';
import { FleetWatch, type SeenWorker } from './fleet-watch.ts';
import { Heartbeat } from './heartbeat.ts';

let nats: TestServer;
let connection: NatsConnection;
beforeAll(async () => {
  nats = await startTestNats();
  connection = await connectNats(nats.url, 'test');
});
afterAll(async () => {
  await connection?.close();
  await nats?.stop();
});

const status = (worker: string, state: WorkerStatus['state'] = 'running'): WorkerStatus => ({
  v: 1,
  worker,
  pid: process.pid,
  host: 'here',
  state,
  device: 'cpu',
  model: 'm',
  fingerprint: 'f',
  slots: 2,
  generations: [],
});

async function child(worker: string) {
  const script = new URL('./test-worker.ts', import.meta.url).pathname;
  const args = [script, nats.url, JSON.stringify(status(worker))];
  const process_ = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  await once(process_.stdout, 'data');
  return process_;
}

/** Listens until `silent` workers were lost. */
function watch() {
  const lost: string[] = [];
  const waiting: (() => void)[] = [];
  const fleet = new FleetWatch(connection, {
    lostAgainMs: Number.POSITIVE_INFINITY,
    onLost: ({ worker }: SeenWorker) => {
      lost.push(worker);
      for (const wake of waiting.splice(0)) wake();
    },
  });
  const heard = async (worker: string) => {
    await expect.poll(() => fleet.workers.map((seen) => seen.worker)).toContain(worker);
  };
  const nextLost = () => new Promise<void>((resolve) => waiting.push(resolve));
  return { fleet, lost, heard, nextLost };
}

it('hears of a killed and of a stopped process once, of a stalled one never', async () => {
  const { fleet, lost, heard, nextLost } = watch();
  const [killed, stopped, stalled] = await Promise.all(['killed', 'stopped', 'stalled'].map(child));
  for (const worker of ['killed', 'stopped', 'stalled']) await heard(worker);
  const awake = once(stalled?.stdout ?? process, 'data');
  stalled?.kill('SIGUSR2');
  const first = nextLost();
  killed?.kill('SIGKILL');
  await first;
  expect(lost).toEqual(['killed']);
  const second = nextLost();
  stopped?.kill('SIGSTOP');
  await second;
  await awake;
  expect(lost).toEqual(['killed', 'stopped']);
  expect(fleet.running.map(({ worker }) => worker)).toEqual(['stalled']);
  stopped?.kill('SIGCONT');
  await expect.poll(() => fleet.running.map(({ worker }) => worker)).toEqual(['stalled', 'stopped']);
  for (const process_ of [stopped, stalled]) process_?.kill('SIGKILL');
  fleet.close();
});

it('forgets a worker that says goodbye, and blames nobody for it', async () => {
  const { fleet, lost, heard } = watch();
  const heartbeat = await Heartbeat.start(nats.url);
  heartbeat.say(status('leaving'));
  await heard('leaving');
  await heartbeat.stop(status('leaving', 'stopped'));
  await expect.poll(() => fleet.workers.map(({ worker }) => worker)).not.toContain('leaving');
  expect(lost).not.toContain('leaving');
  fleet.close();
});

it('blames nobody while NATS is away', async () => {
  const own = await startTestNats();
  const listening = await connectNats(own.url, 'test');
  const lost: string[] = [];
  const fleet = new FleetWatch(listening, { onLost: ({ worker }) => lost.push(worker) });
  const heartbeat = await Heartbeat.start(own.url);
  heartbeat.say(status('patient'));
  await expect.poll(() => fleet.workers.length).toBe(1);
  await own.restart();
  await expect.poll(() => fleet.running.map(({ worker }) => worker), { timeout: 5000 }).toEqual(['patient']);
  expect(lost).toEqual([]);
  await heartbeat.stop(status('patient', 'stopped'));
  fleet.close();
  await listening.close();
  await own.stop();
});

it('says again that a worker is lost for as long as it is', async () => {
  const lost: string[] = [];
  const fleet = new FleetWatch(connection, {
    lostAgainMs: 10,
    onLost: ({ worker }) => lost.push(worker),
  });
  const stopped = await child('stopped-for-long');
  await expect.poll(() => fleet.workers.map(({ worker }) => worker)).toContain('stopped-for-long');
  stopped.kill('SIGSTOP');
  await expect.poll(() => lost.filter((worker) => worker === 'stopped-for-long').length).toBeGreaterThan(2);
  stopped.kill('SIGKILL');
  fleet.close();
});

it('blames nobody while it is cut off itself', async () => {
  const proxy = await startTcpProxy(nats.url);
  const deaf = await connectNats(proxy.url, 'deaf');
  const [hearing, lost]: [string[], string[]] = [[], []];
  const own = new FleetWatch(deaf, { onLost: ({ worker }) => lost.push(worker) });
  const other = new FleetWatch(connection, { onLost: ({ worker }) => hearing.push(worker) });
  const [killed, lives] = await Promise.all(['killed-unheard', 'unheard'].map(child));
  await expect
    .poll(() => own.workers.map(({ worker }) => worker))
    .toEqual(expect.arrayContaining(['killed-unheard', 'unheard']));
  proxy.hold();
  killed?.kill('SIGKILL');
  await expect.poll(() => hearing).toContain('killed-unheard');
  // What it has not heard for as long as the one that is gone, and more.
  await expect.poll(() => own.workers.every(({ silentMs }) => silentMs > 500)).toBe(true);
  expect(lost).toEqual([]);
  proxy.release();
  await expect.poll(() => lost).toContain('killed-unheard');
  expect(lost).not.toContain('unheard');
  lives?.kill('SIGKILL');
  own.close();
  other.close();
  await deaf.close();
  await proxy.close();
});

it('refuses a heartbeat that it does not understand, and goes on', async () => {
  const errors: string[] = [];
  const fleet = new FleetWatch(connection, { onError: (error) => errors.push(error.message) });
  connection.publish(heartbeatSubject, 'nonsense');
  connection.publish(heartbeatSubject, JSON.stringify({ ...status('odd'), v: 2 }));
  connection.publish(heartbeatSubject, JSON.stringify(status('right')));
  await expect.poll(() => fleet.workers.map(({ worker }) => worker)).toContain('right');
  expect(errors).toHaveLength(2);
  expect(errors[1]).toContain('at v');
  fleet.close();
});

it('tells one worker what to do, whatever it is called', async () => {
  const heard: WorkerCommand[] = [];
  const stop = serveCommands(connection, 'host.domain > *', (command) => {
    heard.push(command);
    if (command.kind === 'drain') throw new Error('not now');
    return { done: true, reason: 'fine' };
  });
  const adopt = { v: 1, kind: 'adopt', generation: `resp_${'0'.repeat(32)}`, lock_token: 't' } as const;
  expect(await commandWorker(connection, 'host.domain > *', adopt)).toEqual({
    v: 1,
    done: true,
    reason: 'fine',
  });
  const refused = await commandWorker(connection, 'host.domain > *', { v: 1, kind: 'drain' });
  expect(refused).toMatchObject({ done: false, reason: expect.stringContaining('not now') });
  expect(heard).toEqual([adopt, { v: 1, kind: 'drain' }]);
  stop();
  await expect(commandWorker(connection, 'nobody', { v: 1, kind: 'drain' })).rejects.toThrow(DependencyError);
});
