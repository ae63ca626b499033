import { parentPort } from 'node:worker_threads';
import { RequestError } from '@baton/errors';
import { compileGrammar } from '@baton/grammar';

/** Asked by `GrammarChecks`: the arguments of `compileGrammar` as JSON. Answers with why they are refused, or null. */
parentPort?.on('message', (given: string) => {
  const args: Parameters<typeof compileGrammar> = JSON.parse(given);
  parentPort?.postMessage(refusal(...args));
});

function refusal(...args: Parameters<typeof compileGrammar>): Refusal | null {
  try {
    compileGrammar(...args);
    return null;
  } catch (error) {
    if (!(error instanceof RequestError)) throw error;
    const { code, message, param } = error;
    return { code, message, param };
  }
}

/** A `RequestError` as it goes from thread to thread. */
export type Refusal = Pick<RequestError, 'code' | 'message' | 'param'>;
