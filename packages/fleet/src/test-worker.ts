import { Heartbeat } from './heartbeat.ts';

/** A worker's heartbeat in a process of its own, for tests that stop it: its main thread stands still after SIGUSR2. */
const [natsUrl = '', status = ''] = process.argv.slice(2);
const heartbeat = await Heartbeat.start(natsUrl);
heartbeat.say(JSON.parse(status));
process.on('SIGUSR2', () => {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1200);
  process.stdout.write('awake\n');
});
process.stdout.write('ready\n');
