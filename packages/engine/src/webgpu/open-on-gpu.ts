import type { InferenceSession } from 'onnxruntime-node';
import { openGraph } from '../open-graph.ts';

/**
 * Opens a graph's file on the GPU. Outputs go where a call says: into the GPU's memory that it names, else to JavaScript's.
 * With `profile`, the beginning of a file's path, the times of all GPU programs are written there when it is released.
 * Throws `CheckpointError` for one that is damaged, and for one with an operator that would run on the CPU.
 */
export function openOnGpu(file: string, profile?: string): Promise<InferenceSession> {
  return openGraph(file, {
    ...(profile !== undefined && { enableProfiling: true, profileFilePrefix: profile }),
    executionProviders: [{ name: 'webgpu' }],
    // An operator that fell back to the CPU would carry a state there and back at every step.
    extra: { session: { disable_cpu_ep_fallback: '1' } },
  });
}
