import { LogCorruptedError } from '@baton/errors';
import { describe, expect, it } from 'vitest';
import { exampleJob } from './example-job.ts';
import type { LogEntry } from './log-entry.ts';
import { applyEntry, emptyLogState } from './log-state.ts';

const job = exampleJob();
const queued: LogEntry = { v: 1, kind: 'queued', epoch: 0, sequence_number: 0, job };
const claimed = (epoch: number): LogEntry => ({ v: 1, kind: 'claimed', epoch, worker: `w${epoch}` });
const restored = (epoch: number): LogEntry => ({ v: 1, kind: 'restored', epoch, cached_tokens: 2 });
const tokens = (epoch: number, sequence_number: number, ...ids: number[]): LogEntry => ({
  v: 1,
  kind: 'tokens',
  epoch,
  sequence_number,
  tokens: ids,
  text: ids.map((id) => ` t${id}`).join(''),
});
const finish = (epoch: number, sequence_number: number): LogEntry => ({
  v: 1,
  kind: 'finish',
  epoch,
  sequence_number,
  reason: 'stop',
  usage: { prompt_tokens: 3, cached_tokens: 0, completion_tokens: 3 },
});

function fold(...entries: LogEntry[]) {
  const state = emptyLogState(job.id);
  for (const entry of entries) applyEntry(state, entry);
  return state;
}

describe('applyEntry', () => {
  it('folds a generation that changed hands', () => {
    const state = fold(queued, claimed(1), tokens(1, 1, 7, 8), claimed(2), tokens(2, 2, 9), finish(2, 3));
    expect(state).toMatchObject({ epoch: 2, tokens: [7, 8, 9], text: ' t7 t8 t9', nextSequenceNumber: 4 });
    expect(state.terminal?.kind).toBe('finish');
  });

  it('remembers that a cancel was asked for without counting it', () => {
    const state = fold(queued, claimed(1), { v: 1, kind: 'cancel_requested' }, tokens(1, 1, 7));
    expect(state).toMatchObject({ cancelRequested: true, nextSequenceNumber: 2 });
  });

  it('remembers what its first owner found computed, without counting that', () => {
    const state = fold(queued, claimed(1), restored(1), tokens(1, 1, 7), claimed(2), tokens(2, 2, 8));
    expect(state).toMatchObject({ cachedTokens: 2, nextSequenceNumber: 3 });
    expect(fold(queued, claimed(1), tokens(1, 1, 7)).cachedTokens).toBe(0);
  });

  it('counts owners as lost where another process claims, and only there', () => {
    const of = (process: string, epoch: number): LogEntry => ({
      v: 1,
      kind: 'claimed',
      epoch,
      worker: 'w',
      process,
    });
    const released: LogEntry = { v: 1, kind: 'released', epoch: 1 };
    expect(fold(queued, claimed(1)).crashes).toBe(0);
    expect(fold(queued, claimed(1), claimed(2), claimed(3)).crashes).toBe(2);
    expect(fold(queued, claimed(1), released, claimed(2)).crashes).toBe(0);
    expect(fold(queued, of('p', 1), of('p', 2), of('p', 3)).crashes).toBe(0);
    // One that was started again under the same name was lost in between.
    expect(fold(queued, of('p', 1), of('q', 2), of('p', 3)).crashes).toBe(2);
  });

  it('remembers whom the last owner has released it for, until the next one claims', () => {
    const release: LogEntry = { v: 1, kind: 'released', epoch: 1, target: 'w2' };
    expect(fold(queued, claimed(1)).lastRelease).toBeNull();
    expect(fold(queued, claimed(1), release).lastRelease).toEqual(release);
    expect(fold(queued, claimed(1), release, claimed(2)).lastRelease).toBeNull();
  });

  it.each<[string, LogEntry[]]>([
    ['a gap', [queued, claimed(1), tokens(1, 2, 7)]],
    ['a repetition', [queued, claimed(1), tokens(1, 1, 7), tokens(1, 1, 7)]],
    ['an entry of a fenced owner', [queued, claimed(1), claimed(2), tokens(1, 1, 7)]],
    ['a state of a fenced owner', [queued, claimed(1), claimed(2), restored(1)]],
    ['an entry nobody claimed', [queued, tokens(1, 1, 7)]],
    ['a claim that skips an epoch', [queued, claimed(2)]],
    ['a claim that repeats an epoch', [queued, claimed(1), claimed(1)]],
    ['anything after the end', [queued, claimed(1), finish(1, 1), tokens(1, 2, 7)]],
    ['a claim after the end', [queued, claimed(1), finish(1, 1), claimed(2)]],
    ['a second end', [queued, claimed(1), finish(1, 1), finish(1, 2)]],
    ['a log without entry 0', [claimed(1), tokens(1, 0, 7)]],
  ])('refuses %s', (_, entries) => {
    expect(() => fold(...entries)).toThrow(LogCorruptedError);
  });
});
