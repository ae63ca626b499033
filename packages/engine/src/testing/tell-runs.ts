import { parentPort } from 'node:worker_threads';
import { graphNames } from '@baton/hymba';
import type { InferenceSession } from 'onnxruntime-node';
import { sessionPrototype } from './session-prototype.ts';

/** To be imported by a model's thread before anything else: it tells each run of the model as a stage of its opening. */
const run = sessionPrototype.run as (...given: unknown[]) => Promise<InferenceSession.ReturnType>;
Object.assign(sessionPrototype, {
  run(this: InferenceSession, ...given: unknown[]) {
    const ids = (given[0] as InferenceSession.OnnxValueMapType)[graphNames.inputIds];
    if (ids) parentPort?.postMessage({ type: 'opening', stage: `tokens run: ${ids.dims[1]}` });
    return run.apply(this, given);
  },
});
