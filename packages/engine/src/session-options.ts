import type { WeightForm } from '@baton/hymba';
import type { InferenceSession } from 'onnxruntime-node';

export interface SessionChoice {
  readonly weightForm: WeightForm;
  /** Threads that one operator may use. */
  readonly threads: number;
  readonly device?: 'cpu' | 'cuda' | undefined;
}

/** How graphs over a model's weights are opened, those of the engine and those that it is measured against. */
export function sessionOptions({
  weightForm,
  threads,
  device,
}: SessionChoice): InferenceSession.SessionOptions {
  return {
    // What CUDA has no operator for runs on the CPU.
    executionProviders: device === 'cuda' ? ['cuda', 'cpu'] : ['cpu'],
    intraOpNumThreads: threads,
    extra: {
      session: {
        // A step is hundreds of short parallel sections: threads that sleep between them come too late to help.
        intra_op: { allow_spinning: '1' },
        // Between runs they sleep, since others need the cores.
        force_spinning_stop: '1',
        // Packing would copy the weights for each graph of each worker; as they are they stay mapped, and shared by all.
        disable_prepacking: weightForm === 'fp32' ? '1' : '0',
      },
    },
  };
}
