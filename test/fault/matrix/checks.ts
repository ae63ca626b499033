import assert from 'node:assert/strict';
import type { LogState } from '@baton/protocol';
import type OpenAI from 'openai';

/** How far log-probabilities may differ where the same tokens were fed in other chunks: the arithmetic's order does. */
const tolerance = 1e-3;

/**
 * The promises about one generation, each as a function that throws `AssertionError` where it was broken. That a log keeps its
 * own rules (numbers, epochs, one end and nothing after it) is checked as it is read, see `applyEntry`.
 */

/** It has ended as it was to, and counts what it holds. */
export function checkEnd({ tokens, terminal }: LogState): void {
  assert.equal(terminal?.kind, 'finish', `it ended with ${JSON.stringify(terminal)}`);
  assert.equal(terminal.reason, 'length', 'the reason of its end');
  assert.equal(terminal.usage.completion_tokens, tokens.length, 'the usage counts other tokens');
}

/** What was logged `before` the fault is there still. */
export function checkKept(state: LogState, before: LogState): void {
  const kept = state.tokens.slice(0, before.tokens.length);
  assert.deepEqual(kept, before.tokens, 'a logged token has changed');
}

/** What was logged `before` the fault is what an undisturbed run says. */
export function checkUndisturbed(before: LogState, right: LogState): void {
  assert.deepEqual(before.tokens, right.tokens.slice(0, before.tokens.length), 'before the fault');
}

/** It says what an undisturbed run says. */
export function checkSame(state: LogState, right: LogState): void {
  assert.deepEqual(state.tokens, right.tokens, 'tokens');
  assert.equal(state.text, right.text, 'text');
  assert.equal(state.tokenLogprobs.length, right.tokenLogprobs.length, 'log-probabilities');
  for (const [at, { logprob }] of state.tokenLogprobs.entries()) {
    const difference = Math.abs((logprob ?? 0) - (right.tokenLogprobs[at]?.logprob ?? Number.NaN));
    assert.ok(difference <= tolerance, `token ${at} is likelier or less likely by ${difference}`);
  }
}

/** All connections together gave each event once, in order, and the log's text. */
export function checkRead(
  events: readonly OpenAI.Responses.ResponseStreamEvent[],
  { text }: Pick<LogState, 'text'>,
): void {
  assert.deepEqual(
    events.map((event) => event.sequence_number),
    [...events.keys()],
    'the numbers of the events',
  );
  const read = events.map((event) => (event.type === 'response.output_text.delta' ? event.delta : ''));
  assert.equal(read.join(''), text, 'the text that was read');
}
