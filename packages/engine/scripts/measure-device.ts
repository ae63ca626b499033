/**
 * Runs a converted model on a device and on the CPU, one sequence, and prints how fast each is and how far apart their
 * logits are. Usage: node scripts/measure-device.ts <folder of `baton convert`> [webgpu | cuda]
 */
import { availableParallelism } from 'node:os';
import { resolve } from 'node:path';
import type { Step } from '../src/batch/runner.ts';
import { type Device, findDevice } from '../src/device.ts';
import type { EngineModel } from '../src/engine.ts';
import { ModelRunner } from '../src/model-runner.ts';
import { WebGpuRunner } from '../src/webgpu/webgpu-runner.ts';

const chunk = 64;
const steps = 32;

interface OneSequence<State> {
  readonly model: EngineModel;
  newState(): State;
  run(state: State, step: Step): Promise<Float32Array>;
  warmUp(prefillTokens: number): Promise<void>;
  close(): Promise<void>;
}

/** Prints the figures and gives the logits after the last step. */
async function measure<State>(
  device: Device,
  open: () => Promise<OneSequence<State>>,
): Promise<Float32Array> {
  const openedAt = performance.now();
  const runner = await open();
  await runner.warmUp(chunk);
  const seconds = (performance.now() - openedAt) / 1000;
  const state = runner.newState();
  let fed = 0;
  const feed = async (tokens: number) => {
    const started = performance.now();
    const ids = Array.from({ length: tokens }, () => (fed++ * 37) % 256);
    const logits = await runner.run(state, { ids, rows: [tokens - 1] });
    return { logits: logits.slice(), milliseconds: performance.now() - started };
  };
  const prefills: number[] = [];
  const decodes: number[] = [];
  while (prefills.length < 8 && fed + chunk + steps <= runner.model.contextLength) {
    prefills.push((await feed(chunk)).milliseconds);
  }
  let logits = new Float32Array();
  while (decodes.length < steps) {
    const step = await feed(1);
    decodes.push(step.milliseconds);
    logits = step.logits;
  }
  await runner.close();
  const prefill = (1000 * chunk) / median(prefills);
  process.stdout.write(
    `${device}: ready in ${seconds.toFixed(1)} s, prefill ${prefill.toFixed(0)} tokens/s, decode ${(1000 / median(decodes)).toFixed(1)} tokens/s at ${fed} tokens\n`,
  );
  return logits;
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1] ?? Number.NaN;
}

const [, , model = '', asked = 'webgpu'] = process.argv;
// npm runs a workspace's scripts in the workspace's folder.
const folder = resolve(process.env['INIT_CWD'] ?? '.', model);
const threads = availableParallelism();
const device = await findDevice(asked as Device);
const found =
  device === 'webgpu'
    ? await measure(device, () => WebGpuRunner.open(folder))
    : await measure(device, () => ModelRunner.open(folder, { threads, device }));
const expected = await measure('cpu', () => ModelRunner.open(folder, { threads }));
const differences = expected.map((value, i) => Math.abs(value - (found[i] ?? Number.NaN)));
process.stdout.write(`largest difference between their last logits: ${Math.max(...differences)}\n`);
