import assert from 'node:assert/strict';
import type { LogState } from '@baton/protocol';
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
}

/** How far log-probabilities may differ where the same tokens were fed in other chunks: the arithmetic's order does. */
const tolerance = 1e-3;

/** Throws `AssertionError` where a promise was broken. That the log keeps its own rules was checked as it was read. */
export async function checkCase(
  system: TargetSystem,
  { id, readers, state }: Run,
  { before, right, exact }: Expectations,
): Promise<void> {
  assert.equal(state.terminal?.kind, 'finish', `it ended with ${JSON.stringify(state.terminal)}`);
  assert.deepEqual(state.terminal.reason, 'length');
  assert.equal(state.terminal.usage.completion_tokens, state.tokens.length);
  const logged = before.tokens.length;
  assert.deepEqual(state.tokens.slice(0, logged), before.tokens, 'a logged token has changed');
  assert.deepEqual(before.tokens, right.state.tokens.slice(0, logged), 'before the fault');
  if (exact || state.epoch === 1) checkSame(state, right.state);
  for (const reader of readers) checkRead(reader, state);
  for (const gateway of system.urls) {
    const replay = new ResponseReader([gateway], { known: id });
    await replay.ended;
    for (const { events } of readers) assert.deepEqual(events, replay.events, 'read anew it is another');
  }
}

function checkSame(state: LogState, right: LogState): void {
  assert.deepEqual(state.tokens, right.tokens, 'tokens');
  assert.equal(state.text, right.text);
  for (const [at, { logprob }] of state.tokenLogprobs.entries()) {
    const difference = Math.abs((logprob ?? 0) - (right.tokenLogprobs[at]?.logprob ?? Number.NaN));
    assert.ok(difference <= tolerance, `token ${at} is likelier or less likely by ${difference}`);
  }
}

/** All connections together gave each event once, in order, and the log's text. */
function checkRead({ events }: ResponseReader, { text }: LogState): void {
  assert.deepEqual(
    events.map((event) => event.sequence_number),
    [...events.keys()],
  );
  const read = events.map((event) => (event.type === 'response.output_text.delta' ? event.delta : ''));
  assert.equal(read.join(''), text);
}
