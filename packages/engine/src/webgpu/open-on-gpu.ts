import { graphNames } from '@baton/hymba';
import type { InferenceSession } from 'onnxruntime-node';
import { openGraph } from '../open-graph.ts';

/**
 * Opens a graph's file so that the outputs called `states` stay on the GPU and logits come back. Throws `CheckpointError`
 * for one that is damaged, and for one with an operator that would run on the CPU.
 */
export function openOnGpu(file: string, states: readonly string[]): Promise<InferenceSession> {
  return openGraph(file, {
    executionProviders: ['webgpu'],
    preferredOutputLocation: {
      ...Object.fromEntries(states.map((name) => [name, 'gpu-buffer'] as const)),
      [graphNames.logits]: 'cpu',
    },
    // An operator that fell back to the CPU would carry a state there and back at every step.
    extra: { session: { disable_cpu_ep_fallback: '1' } },
  });
}
