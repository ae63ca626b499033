import type { RunEvent } from '../batch/batch-loop.ts';
import { packError, type ThreadFailure, unpackError } from './thread-failure.ts';

/** A `RunEvent` on its way between threads. */
export type ThreadEvent =
  | Exclude<RunEvent, { readonly type: 'failed' }>
  | { readonly type: 'failed'; readonly run: number; readonly failure: ThreadFailure };

export function packEvent(event: RunEvent): ThreadEvent {
  return event.type === 'failed'
    ? { type: 'failed', run: event.run, failure: packError(event.error) }
    : event;
}

export function unpackEvent(event: ThreadEvent): RunEvent {
  return event.type === 'failed'
    ? { type: 'failed', run: event.run, error: unpackError(event.failure) }
    : event;
}
