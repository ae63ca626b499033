import { parentPort, workerData } from 'node:worker_threads';
import { loadTokenizer } from '@baton/hymba/tokenizer';
import { ModelRunner } from '../model-runner.ts';
import type { FromThread, ThreadOptions } from './messages.ts';
import { serve } from './serve.ts';
import { packError } from './thread-failure.ts';

if (!parentPort) throw new Error('model-thread.ts is to be started as a worker thread');
const port = parentPort;
const send = (message: FromThread) => port.postMessage(message);

/** The model's thread: opens the model, says so, and runs sequences until it is closed. */
const { modelDir, threads } = workerData as ThreadOptions;
try {
  const [runner, vocabulary] = await Promise.all([
    ModelRunner.open(modelDir, { threads }),
    loadTokenizer(modelDir),
  ]);
  send({ type: 'ready', model: runner.model });
  await serve(port, { runner, vocabulary });
  await runner.close();
} catch (error) {
  send({ type: 'refused', failure: packError(error) });
  port.close();
}
