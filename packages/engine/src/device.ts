import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { ConfigurationError } from '@baton/errors';
import { buildProbe } from '@baton/hymba';
import { InferenceSession, Tensor } from 'onnxruntime-node';

/** What a model can run on. */
export type Device = 'cpu' | 'webgpu' | 'cuda';

/** Why nothing runs on `device` here, or null where it does. Tries it with the bytes of a model from `x`, one float32. */
export async function deviceProblem(
  device: Device,
  model: Uint8Array = buildProbe(),
): Promise<string | null> {
  try {
    const probe = await InferenceSession.create(model, {
      executionProviders: [device],
      // What is said here is said by the answer.
      logSeverityLevel: 4,
    });
    await probe.run({ x: new Tensor('float32', Float32Array.of(2), [1]) });
    await probe.release();
    return null;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

const needs: Readonly<Record<Exclude<Device, 'cpu'>, string>> = {
  webgpu:
    'it needs a GPU with a driver for Vulkan and its loader (Debian: libvulkan1), for Direct3D 12 or for Metal, which this user may use',
  cuda: "it needs Linux on x64, an NVIDIA GPU with its driver, CUDA 12 and cuDNN 9, and ONNX Runtime's files for CUDA, which `npm run cuda` fetches",
};

/** A file of ONNX Runtime that is only there once the files for CUDA were fetched. */
function cudaFile(): string {
  const { resolve } = createRequire(import.meta.url);
  const files = join(dirname(resolve('onnxruntime-node/package.json')), 'bin/napi-v6/linux/x64');
  return join(files, 'libonnxruntime_providers_cuda.so');
}

/**
 * The device that `choice` names, found to work. `auto` is CUDA where its files were fetched and a GPU answers, else the
 * CPU: never WebGPU, whose driver may itself be software. Throws `ConfigurationError` where the one asked for is not there.
 */
export async function findDevice(choice: Device | 'auto'): Promise<Device> {
  if (choice === 'auto') {
    return existsSync(cudaFile()) && (await deviceProblem('cuda')) === null ? 'cuda' : 'cpu';
  }
  if (choice === 'cpu') return 'cpu';
  const problem = await deviceProblem(choice);
  if (problem === null) return choice;
  throw new ConfigurationError(
    `BATON_DEVICE is ${choice}, which does not work here: ${needs[choice]}; or set BATON_DEVICE=cpu. ONNX Runtime says: ${problem}`,
  );
}
