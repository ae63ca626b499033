import { ServerError } from '@baton/errors';
import { expect, it } from 'vitest';
import { Fleet } from './fleet.ts';
import { keepRunning, type Launch, type Running } from './keep-running.ts';

const quick = { firstDelayMs: 1, longestDelayMs: 4, recoveredAfterMs: 60_000 };

/** Processes that end when told to, and note what happens to them. */
function scripted(name: string, events: string[]) {
  const ready = Promise.withResolvers<void>();
  const ends: ((how: string) => void)[] = [];
  const launch: Launch = async (): Promise<Running> => {
    const { promise: exited, resolve } = Promise.withResolvers<string>();
    ends.push(resolve);
    events.push(`start ${name}`);
    const stop = async () => {
      events.push(`stop ${name}`);
      resolve('SIGTERM');
    };
    return { ready: ready.promise, exited, lastWords: () => '', stop };
  };
  return {
    launch,
    ready: ready.resolve,
    end: (how: string) => ends.at(-1)?.(how),
    launches: () => ends.length,
  };
}

it('starts a process again when it ends, with growing pauses, and says so', async () => {
  const said: string[] = [];
  const worker = scripted('worker', []);
  const kept = await keepRunning('worker', worker.launch, (line) => said.push(line), quick);
  for (let death = 1; death <= 4; death++) {
    worker.end('SIGKILL');
    await expect.poll(worker.launches).toBe(death + 1);
  }
  await kept.stop();
  expect(said).toEqual(
    [1, 2, 4, 4].map((ms) => `worker ended and is started again in ${ms / 1000} s: SIGKILL`),
  );
  expect(worker.launches()).toBe(5);
});

it('goes on trying when a restart fails', async () => {
  const said: string[] = [];
  const redis = scripted('redis', []);
  let attempts = 0;
  const flaky: Launch = () => {
    attempts++;
    return attempts === 2 ? Promise.reject(new Error('no space left')) : redis.launch();
  };
  const kept = await keepRunning('redis', flaky, (line) => said.push(line), quick);
  redis.end('exit code 1');
  await expect.poll(redis.launches).toBe(2);
  await kept.stop();
  expect(said.join('\n')).toMatch(/exit code 1.*\n.*no space left/);
});

it('stops a process whose restart is under way', async () => {
  const events: string[] = [];
  const worker = scripted('worker', events);
  const gate = Promise.withResolvers<void>();
  let attempts = 0;
  const slow: Launch = async () => {
    attempts++;
    if (attempts > 1) await gate.promise;
    return worker.launch();
  };
  const kept = await keepRunning('worker', slow, () => {}, quick);
  worker.end('SIGKILL');
  await expect.poll(() => attempts).toBe(2);
  const stopped = kept.stop();
  gate.resolve();
  await stopped;
  expect(events.at(-1)).toBe('stop worker');
  expect(worker.launches()).toBe(2);
});

it('stops the last stage first', async () => {
  const events: string[] = [];
  const fleet = new Fleet(() => {});
  for (const name of ['redis', 'worker', 'gateway']) {
    const process = scripted(name, events);
    await fleet.launch({ [name]: process.launch });
    process.ready();
  }
  await fleet.untilReady();
  await fleet.stop();
  expect(events.filter((event) => event.startsWith('stop'))).toEqual([
    'stop gateway',
    'stop worker',
    'stop redis',
  ]);
});

it('fails to come up when a process ends first, and stops what runs', async () => {
  const events: string[] = [];
  const said: string[] = [];
  const fleet = new Fleet((line) => said.push(line));
  await fleet.launch({ redis: scripted('redis', events).launch });
  const gateway = scripted('gateway', events);
  await fleet.launch({ gateway: gateway.launch });
  const up = fleet.untilReady();
  gateway.end('exit code 1');
  await expect(up).rejects.toThrow(new ServerError('gateway did not start: exit code 1'));
  await fleet.stop();
  expect(events).toContain('stop redis');
  expect(said).toEqual([]);
});
