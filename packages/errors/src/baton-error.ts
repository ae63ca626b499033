import type { ErrorCode } from './outcomes.ts';

/**
 * Base of every error Baton throws on purpose. `code` decides what a client sees and what becomes of
 * a job (see `outcomes.ts`); `retryable` says whether the same call can succeed later unchanged.
 * Nothing may match on `message`, which is for people.
 */
export abstract class BatonError extends Error {
  abstract readonly code: ErrorCode;
  abstract readonly retryable: boolean;

  override get name(): string {
    return this.constructor.name;
  }
}
