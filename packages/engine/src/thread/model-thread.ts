import { parentPort, workerData } from 'node:worker_threads';
import { loadTokenizer } from '@baton/hymba/tokenizer';
import { BatchLoop } from '../batch/batch-loop.ts';
import type { Runner } from '../batch/runner.ts';
import { batchSettings } from '../batch/settings.ts';
import { type Device, findDevice } from '../device.ts';
import { ModelRunner } from '../model-runner.ts';
import { WebGpuRunner } from '../webgpu/webgpu-runner.ts';
import type { FromThread, ThreadOptions } from './messages.ts';
import { serve } from './serve.ts';
import { packError } from './thread-failure.ts';

if (!parentPort) throw new Error('model-thread.ts is to be started as a worker thread');
const port = parentPort;
const send = (message: FromThread) => port.postMessage(message);

/** The model's thread: opens the model, says so, and runs sequences until it is closed. */
const { modelDir, threads, device: choice = 'auto', ...options } = workerData as ThreadOptions;
const settings = batchSettings(options);
const onProgress = (stage: string) => send({ type: 'opening', stage });
try {
  const device = await findDevice(choice);
  onProgress(`running on ${device}`);
  const { slots, stateMemory } = settings;
  const opening = { slots, stateMemory, onProgress };
  if (device === 'webgpu') await runModel(device, await WebGpuRunner.open(modelDir, opening));
  else await runModel(device, await ModelRunner.open(modelDir, { ...opening, threads, device }));
} catch (error) {
  send({ type: 'refused', failure: packError(error) });
  port.close();
}

interface OpenRunner<State> extends Runner<State> {
  warmUp(prefillTokens: number): Promise<void>;
  close(): Promise<void>;
}

async function runModel<State>(device: Device, runner: OpenRunner<State>): Promise<void> {
  const vocabulary = await loadTokenizer(modelDir);
  const loop = new BatchLoop({ runner, vocabulary, ...settings });
  onProgress('warming up');
  await runner.warmUp(settings.prefillChunk);
  const { model, layout } = runner;
  send({ type: 'ready', model, device, layout, capacity: loop.capacity });
  await serve(port, loop);
  await runner.close();
}
