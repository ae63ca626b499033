import { RequestError } from '@baton/errors';

/**
 * Levels of arrays and objects that JSON from outside may have. Below what overflows the stack where it is checked, hashed or
 * written again, and above what a schema of a hundred nested parts takes.
 */
const maxLevels = 256;

/** Level by level, since a value may be deeper than a stack. */
export function isTooDeep(value: unknown): boolean {
  let level = [value].filter(isContainer);
  for (let depth = 0; level.length > 0; depth++) {
    if (depth === maxLevels) return true;
    level = level.flatMap((each) => (Array.isArray(each) ? each : Object.values(each)).filter(isContainer));
  }
  return false;
}

/** Throws `RequestError` for what `isTooDeep`; `what` names it: "the body". */
export function refuseTooDeep(value: unknown, what: string): void {
  if (isTooDeep(value)) {
    throw new RequestError('invalid_json', `${what} is nested more than ${maxLevels} levels deep`);
  }
}

function isContainer(value: unknown): value is object {
  return typeof value === 'object' && value !== null;
}
