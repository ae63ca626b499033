import { parentPort, workerData } from 'node:worker_threads';
import { Snapshots } from '../snapshots.ts';
import { collectNowAndThen } from '../stores/collect.ts';
import { awaitSnapshotStore } from '../stores/open-store.ts';
import type { FromThread, SnapshotSettings, ToThread } from './messages.ts';

if (!parentPort) throw new Error('snapshot-thread.ts is to be started as a worker thread');
const port = parentPort;
const send = (message: FromThread) => port.postMessage(message);

/** The snapshots' thread: encodes, decodes and talks to the store, so that no other thread has to. */
const { storeUrl, limits, keys, ...options } = workerData as SnapshotSettings;
try {
  const store = await awaitSnapshotStore(storeUrl, limits, {
    keys,
    onState: (outage) => send({ type: 'store', outage: outage?.message ?? null }),
  });
  const snapshots = new Snapshots({ ...options, store });
  const stopCollecting = collectNowAndThen(store, limits);
  port.on('message', async (call: ToThread) => {
    send({ type: 'done', id: call.id, result: await run(snapshots, call) });
    if (call.method !== 'close') return;
    await stopCollecting();
    port.close();
  });
  send({ type: 'ready' });
} catch (error) {
  send({ type: 'refused', message: error instanceof Error ? error.message : String(error) });
  port.close();
}

function run(snapshots: Snapshots, call: ToThread): unknown {
  switch (call.method) {
    case 'save':
      return snapshots.save(...call.args);
    case 'restore':
      return snapshots.restore(...call.args);
    case 'renew':
      return snapshots.renew(...call.args);
    case 'delete':
      return snapshots.delete(...call.args);
    case 'release':
      return snapshots.release(...call.args);
    case 'close':
      return snapshots.close();
  }
}
