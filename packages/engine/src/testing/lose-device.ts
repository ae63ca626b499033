import { graphNames } from '@baton/hymba';
import type { InferenceSession } from 'onnxruntime-node';
import { sessionPrototype } from './session-prototype.ts';

/** To be imported by a model's thread before anything else: its device is lost as soon as it is fed token 77. */
const run = sessionPrototype.run as (...given: unknown[]) => Promise<InferenceSession.ReturnType>;
const fatalToken = 77n;
let lost = false;
Object.assign(sessionPrototype, {
  run(this: InferenceSession, ...given: unknown[]) {
    const ids = (given[0] as InferenceSession.OnnxValueMapType)[graphNames.inputIds]?.data as BigInt64Array;
    lost ||= ids.includes(fatalToken);
    if (lost) throw new Error('the device is lost');
    return run.apply(this, given);
  },
});
