import { applyEntry, emptyLogState, type LogEntry, type LogState } from '@baton/protocol';
import { exampleJob } from '@baton/protocol/testing';
import type OpenAI from 'openai';
import { describe, expect, it } from 'vitest';
import { checkEnd, checkKept, checkRead, checkSame, checkUndisturbed } from './checks.ts';

type ResponseEvent = OpenAI.Responses.ResponseStreamEvent;
type Numbered = Extract<LogEntry, { sequence_number: number }>;

const id = `resp_${'0'.repeat(32)}`;
const tokens = (epoch: number, at: number): LogEntry => ({
  v: 1,
  kind: 'tokens',
  epoch,
  sequence_number: at,
  tokens: [10 + at],
  text: `t${at} `,
  logprobs: [{ token: 10 + at, logprob: -0.1 * at, top: [] }],
});
const claimed = (epoch: number): LogEntry => ({ v: 1, kind: 'claimed', epoch, worker: `worker-${epoch}` });
const finish = (at: number): LogEntry => ({
  v: 1,
  kind: 'finish',
  epoch: 2,
  sequence_number: at,
  reason: 'length',
  usage: { prompt_tokens: 3, cached_tokens: 0, completion_tokens: 6 },
});
/** A generation of six tokens that changes its worker after three. */
const good: readonly LogEntry[] = [
  { v: 1, kind: 'queued', epoch: 0, sequence_number: 0, job: exampleJob({ id }) },
  claimed(1),
  tokens(1, 1),
  tokens(1, 2),
  tokens(1, 3),
  claimed(2),
  tokens(2, 4),
  tokens(2, 5),
  tokens(2, 6),
  finish(7),
];

function read(entries: readonly LogEntry[]): LogState {
  const state = emptyLogState(id);
  for (const entry of entries) applyEntry(state, entry);
  return state;
}
const right = read(good);
const before = read(good.slice(0, 5));

/** What is checked of the log of every case whose state is exact. */
function checkLog(entries: readonly LogEntry[]): void {
  const state = read(entries);
  checkKept(state, before);
  checkUndisturbed(before, right);
  checkSame(state, right);
  checkEnd(state);
}

/** As a worker would have logged it that does not know that it says something wrong. */
function numbered(entries: readonly LogEntry[]): LogEntry[] {
  let next = 0;
  return entries.map((entry) =>
    'sequence_number' in entry ? ({ ...entry, sequence_number: next++ } as Numbered) : entry,
  );
}
const without = (at: number) => good.toSpliced(at, 1);
const twice = (at: number) => good.toSpliced(at, 0, good[at] as LogEntry);
const swapped = (at: number) => good.toSpliced(at, 2, good[at + 1] as LogEntry, good[at] as LogEntry);
const changed = (at: number, change: object) => good.with(at, { ...good[at], ...change } as LogEntry);

describe('the checks of the fault matrix', () => {
  it('find nothing wrong with a log that is right', () => {
    expect(() => checkLog(good)).not.toThrow();
  });

  it('refuse a start that an undisturbed run does not have', () => {
    const other = read(changed(3, { tokens: [99] }).slice(0, 5));
    expect(() => checkUndisturbed(other, right)).toThrow('before the fault');
  });

  it.each<[string, readonly LogEntry[], string]>([
    ['a missing entry', without(3), 'has sequence number 3, expected 2'],
    ['a repeated entry', twice(3), 'has sequence number 2, expected 3'],
    ['swapped entries', swapped(6), 'has sequence number 5, expected 4'],
    ['a missing token before the fault', numbered(without(3)), 'a logged token has changed'],
    ['a missing token after the fault', numbered(without(7)), 'tokens'],
    ['a repeated token before the fault', numbered(twice(3)), 'a logged token has changed'],
    ['a token that both owners sampled', numbered(good.toSpliced(6, 0, tokens(2, 3))), 'tokens'],
    ['a changed token before the fault', changed(3, { tokens: [99] }), 'a logged token has changed'],
    ['a changed token after the fault', changed(7, { tokens: [99] }), 'tokens'],
    ['another text of the same tokens', changed(7, { text: 'T5 ' }), 'text'],
    ['a token without its log-probability', changed(7, { logprobs: [] }), 'log-probabilities'],
    [
      'another log-probability',
      changed(7, { logprobs: [{ token: 15, logprob: -0.6, top: [] }] }),
      'likelier or less likely',
    ],
    ['a token of an owner of before', changed(7, { epoch: 1 }), "has epoch 1, the owner's is 2"],
    ['a falling epoch', good.toSpliced(7, 0, claimed(1)), 'claims epoch 1 on top of epoch 2'],
    ['a repeated epoch', good.toSpliced(7, 0, claimed(2)), 'claims epoch 2 on top of epoch 2'],
    ['a skipped epoch', changed(5, { epoch: 3 }), 'claims epoch 3 on top of epoch 1'],
    ['a second end', [...good, finish(8)], 'after the terminal finish entry'],
    ['a token after the end', [...good, tokens(2, 8)], 'after the terminal finish entry'],
    ['a claim after the end', [...good, claimed(3)], 'after the terminal finish entry'],
    ['no end', good.slice(0, -1), 'it ended with null'],
    ['an end that counts wrong', changed(9, { usage: { completion_tokens: 5 } }), 'the usage counts'],
    ['an end before its time', changed(9, { reason: 'stop' }), 'the reason of its end'],
    [
      'an error',
      changed(9, { kind: 'error', code: 'server_error', message: '' }),
      'it ended with {"v":1,"kind":"error"',
    ],
  ])('refuse %s', (_, entries, reason) => {
    expect(() => checkLog(entries)).toThrow(reason);
  });

  const event = (sequence_number: number, delta?: string) =>
    ({
      type: delta === undefined ? 'response.in_progress' : 'response.output_text.delta',
      sequence_number,
      ...(delta !== undefined && { delta }),
    }) as ResponseEvent;
  const text = 'once upon a time';
  const events = [event(0), event(1, 'once '), event(2, 'upon '), event(3, 'a '), event(4, 'time'), event(5)];

  it('find nothing wrong with a stream that is right', () => {
    expect(() => checkRead(events, { text })).not.toThrow();
  });

  it.each<[string, readonly ResponseEvent[], string]>([
    ['a missing event', events.toSpliced(2, 1), 'numbers of the events'],
    ['a missing last event, which said something', events.slice(0, -2), 'the text that was read'],
    ['a repeated event', events.toSpliced(2, 0, event(2, 'upon ')), 'numbers of the events'],
    ['swapped events', events.toSpliced(2, 2, event(3, 'a '), event(2, 'upon ')), 'numbers of the events'],
    ['a changed event', events.with(2, event(2, 'under ')), 'the text that was read'],
    ['a missing token under the right number', events.with(2, event(2, '')), 'the text that was read'],
    ['a repeated token under another number', [...events, event(6, 'time')], 'the text that was read'],
    ['a stream that begins late', events.slice(1), 'numbers of the events'],
  ])('refuse %s', (_, found, reason) => {
    expect(() => checkRead(found, { text })).toThrow(reason);
  });
});
