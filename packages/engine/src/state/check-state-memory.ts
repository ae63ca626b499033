import { ConfigurationError } from '@baton/errors';

/** Throws `ConfigurationError` where `stateMemory` bytes are less than the `needed` ones to run a single sequence of full length. */
export function checkStateMemory(stateMemory: number, needed: number, contextLength: number): void {
  if (stateMemory >= needed) return;
  throw new ConfigurationError(
    `BATON_STATE_MEMORY is ${stateMemory / 2 ** 20} (MiB), which has no room for one sequence of ${contextLength} tokens; ` +
      `it must be at least ${Math.ceil(needed / 2 ** 20)}`,
  );
}
