import { BatonError, OverloadedError } from '@baton/errors';
import pRetry from 'p-retry';
import { errorOfNetwork, errorOfResponse, type HubRepository } from './hub-errors.ts';

/** A hub that asks for more patience than this is told no: the person can come back. */
const longestWaitMs = 60_000;

/** A `fetch` for the hub's client that throws the errors of `hub-errors.ts` for whatever is not a success. */
export function hubFetch(repository: HubRepository): typeof fetch {
  return async (input, init) => {
    const url = input instanceof Request ? input.url : String(input);
    let response: Response;
    try {
      response = await fetch(input, init);
    } catch (error) {
      throw errorOfNetwork(error, url);
    }
    if (response.ok) return response;
    await response.body?.cancel();
    throw errorOfResponse(response, repository);
  };
}

/** Reads a body to its end; a connection that breaks off becomes a `DependencyError`. */
export async function* bodyOf(response: Response): AsyncGenerator<Uint8Array> {
  try {
    if (response.body) yield* response.body;
  } catch (error) {
    throw errorOfNetwork(error, response.url);
  }
}

export interface RetryOptions {
  /** How often in a row an attempt may fail and be repeated; waits double from half a second. */
  readonly retries: number;
  onRetry(reason: string): void;
  /** Says whether the failed attempt got anywhere; if it did, it does not count against the retries. */
  madeProgress?(): boolean;
}

/** Repeats `attempt` while it fails with an error that is `retryable`, as long as the hub asks to wait. */
export function retrying<T>(attempt: () => Promise<T>, options: RetryOptions): Promise<T> {
  return pRetry(attempt, {
    retries: options.retries,
    minTimeout: 500,
    shouldConsumeRetry: () => !options.madeProgress?.(),
    shouldRetry: async ({ error }) => {
      if (!(error instanceof BatonError) || !error.retryable) return false;
      const wait = error instanceof OverloadedError ? error.retryAfterMs : 0;
      if (wait > longestWaitMs) return false;
      options.onRetry(error.message);
      await new Promise((resolve) => setTimeout(resolve, wait));
      return true;
    },
  });
}
