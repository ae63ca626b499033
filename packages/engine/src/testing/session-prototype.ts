import { InferenceSession } from 'onnxruntime-node';

/** What all sessions of this thread run by, for tests that look on or make runs fail. */
export const sessionPrototype = (InferenceSession as unknown as { readonly prototype: InferenceSession })
  .prototype;
