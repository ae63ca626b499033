import { setTimeout as sleep } from 'node:timers/promises';
import { parentPort, workerData } from 'node:worker_threads';
import { connectNats } from '@baton/log';
import { heartbeatSubject } from '@baton/protocol';

if (!parentPort) throw new Error('heartbeat-thread.ts is to be started as a worker thread');
const port = parentPort;

/** Repeats the newest status: a process whose other threads stand still for a moment is still alive. */
const { natsUrl, everyMs } = workerData as { natsUrl: string; everyMs: number };
const nats = await connectNats(natsUrl, 'baton-heartbeat');
let status: string | null = null;
const beat = () => {
  if (status !== null && !nats.isClosed()) nats.publish(heartbeatSubject, status);
};
const timer = setInterval(beat, everyMs);
port.on('message', async (message: { readonly status: string; readonly last: boolean }) => {
  status = message.status;
  beat();
  if (!message.last) return;
  clearInterval(timer);
  // Ends this thread alone, and soon: the last word may be lost, and the silence says the same.
  await Promise.race([nats.flush().catch(() => {}), sleep(500)]);
  process.exit();
});
port.postMessage('ready');
