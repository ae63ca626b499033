import assert from 'node:assert/strict';
import type { LogState } from '@baton/protocol';
import { checkEnd, checkKept, checkRead, checkSame, checkUndisturbed } from './checks.ts';
import { ResponseReader } from './response-reader.ts';
import type { Run } from './run-case.ts';
import type { TargetSystem } from './target-system.ts';

export interface Expectations {
  /** What the log said when the fault struck. */
  readonly before: LogState;
  /** The same generation, undisturbed. */
  readonly right: Run;
  /** Whether the state that was gone on from is the one that was lost, to the bit or computed again. */
  readonly exact: boolean;
  /** Whether it had gone on from a state that is not the one that was lost before the fault struck: a machine may be that busy. */
  readonly moved: boolean;
}

/** Throws `AssertionError` where a promise was broken. */
export async function checkCase(
  system: TargetSystem,
  { id, readers, state }: Run,
  { before, right, exact, moved }: Expectations,
): Promise<void> {
  checkEnd(state);
  checkKept(state, before);
  if (!moved) checkUndisturbed(before, right.state);
  if (exact || state.epoch === 1) checkSame(state, right.state);
  for (const { events } of readers) checkRead(events, state);
  for (const gateway of system.urls) {
    const replay = new ResponseReader([gateway], { known: id });
    await replay.ended;
    for (const { events } of readers) assert.deepEqual(events, replay.events, 'read anew it is another');
  }
}
