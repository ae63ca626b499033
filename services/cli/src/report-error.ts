import { BatonError } from '@baton/errors';

/** Says why the command failed: one line for what a person can mend, the stack for what only we can. Exit code 1. */
export function reportError(error: unknown): void {
  const expected = error instanceof BatonError;
  const text = error instanceof Error && !expected ? error.stack : String(expected ? error.message : error);
  process.stderr.write(`baton: ${text}\n`);
  process.exitCode = 1;
}
