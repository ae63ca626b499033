/**
 * Preloaded into every thread of a measuring process (`node --import`): adds up the time spent inside ONNX Runtime, its
 * JavaScript library included, so that what the engine spends outside can be told.
 */
import { getEnvironmentData, isMainThread, setEnvironmentData } from 'node:worker_threads';
import { InferenceSession } from 'onnxruntime-node';

const key = 'baton-bench-runtime-clock';
if (isMainThread) {
  setEnvironmentData(key, new SharedArrayBuffer(2 * Float64Array.BYTES_PER_ELEMENT));
}
/** Milliseconds inside, and calls. Only one thread runs a model at a time. */
const clock = new Float64Array(getEnvironmentData(key) as unknown as SharedArrayBuffer);

const create = InferenceSession.create;
const createTimed = async (...args: unknown[]): Promise<InferenceSession> => {
  const session: InferenceSession = await Reflect.apply(create, InferenceSession, args);
  const run = session.run;
  session.run = async (...runArgs: unknown[]) => {
    const start = performance.now();
    try {
      return await Reflect.apply(run, session, runArgs);
    } finally {
      clock[0] = (clock[0] ?? 0) + performance.now() - start;
      clock[1] = (clock[1] ?? 0) + 1;
    }
  };
  return session;
};
Object.assign(InferenceSession, { create: createTimed });

/** Time inside ONNX Runtime so far, in ms, and the number of its runs. */
export function runtimeClock(): { readonly milliseconds: number; readonly runs: number } {
  return { milliseconds: clock[0] ?? 0, runs: clock[1] ?? 0 };
}
