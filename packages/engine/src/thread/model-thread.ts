import { parentPort, workerData } from 'node:worker_threads';
import { loadTokenizer } from '@baton/hymba/tokenizer';
import { BatchLoop } from '../batch/batch-loop.ts';
import { batchSettings } from '../batch/settings.ts';
import { ModelRunner } from '../model-runner.ts';
import type { FromThread, ThreadOptions } from './messages.ts';
import { serve } from './serve.ts';
import { packError } from './thread-failure.ts';

if (!parentPort) throw new Error('model-thread.ts is to be started as a worker thread');
const port = parentPort;
const send = (message: FromThread) => port.postMessage(message);

/** The model's thread: opens the model, says so, and runs sequences until it is closed. */
const { modelDir, threads, ...options } = workerData as ThreadOptions;
try {
  const settings = batchSettings(options);
  const onProgress = (stage: string) => send({ type: 'opening', stage });
  const [runner, vocabulary] = await Promise.all([
    ModelRunner.open(modelDir, { threads, slots: settings.slots, onProgress }),
    loadTokenizer(modelDir),
  ]);
  const loop = new BatchLoop({ runner, vocabulary, ...settings });
  onProgress('warming up');
  await runner.warmUp(settings.prefillChunk);
  send({ type: 'ready', model: runner.model, capacity: loop.capacity });
  await serve(port, loop);
  await runner.close();
} catch (error) {
  send({ type: 'refused', failure: packError(error) });
  port.close();
}
