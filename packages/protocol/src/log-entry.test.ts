import { expect, it } from 'vitest';
import { logEntrySchema, readLogEntry } from './log-entry.ts';
import { parseMessage } from './parse.ts';

const tokens = { v: 1, kind: 'tokens', epoch: 2, sequence_number: 7, tokens: [5, 0], text: ' a' };
const logprobs = [{ token: 5, logprob: -0.5, top: [[5, -0.5]] }];
const { text: _, ...withoutText } = tokens;

it.each<[string, unknown]>([
  ['tokens', tokens],
  ['no tokens', { ...tokens, tokens: [] }],
  ['log-probabilities', { ...tokens, logprobs }],
  ['log-probabilities in place of the text', { ...withoutText, logprobs }],
  ['another field', { ...tokens, colour: 'red' }],
  ['another field in place of the text', { ...withoutText, colour: 'red' }],
  ['another version', { ...tokens, v: 2 }],
  ['another kind', { ...tokens, kind: 'token' }],
  ['an epoch below 0', { ...tokens, epoch: -1 }],
  ['half a sequence number', { ...tokens, sequence_number: 0.5 }],
  ['a sequence number too large to count with', { ...tokens, sequence_number: 2 ** 53 }],
  ['tokens that are no list', { ...tokens, tokens: '5' }],
  ['a token that is no number', { ...tokens, tokens: [5, '0'] }],
  ['a token below 0', { ...tokens, tokens: [-5] }],
  ['text that is no text', { ...tokens, text: null }],
  ['a list', [tokens]],
  ['null', null],
])('reads and refuses what the schema does: %s', (_, entry) => {
  const data = new TextEncoder().encode(JSON.stringify(entry));
  const outcome = (read: () => unknown) => {
    try {
      return { entry: read() };
    } catch (error) {
      return { error: String(error) };
    }
  };
  expect(outcome(() => readLogEntry(data, 'here'))).toEqual(
    outcome(() => parseMessage(logEntrySchema, data, 'here')),
  );
});
