import type { LogEntry } from '@baton/protocol';
import { describe, expect, it } from 'vitest';
import { LiveTally } from './live-tally.ts';

const id = `resp_${'0'.repeat(32)}`;
const claimed = (epoch: number, worker: string): LogEntry => ({ v: 1, kind: 'claimed', epoch, worker });
const tokens = (epoch: number, count: number): LogEntry => ({
  v: 1,
  kind: 'tokens',
  epoch,
  sequence_number: 1,
  tokens: Array.from({ length: count }, () => 7),
  text: 'x',
});
const finish: LogEntry = {
  v: 1,
  kind: 'finish',
  epoch: 1,
  sequence_number: 9,
  reason: 'length',
  usage: { prompt_tokens: 1, cached_tokens: 0, completion_tokens: 1 },
};

describe('LiveTally', () => {
  it('tells a lost owner from one that handed over', () => {
    const tally = new LiveTally();
    tally.take(id, claimed(1, 'a'), 0);
    tally.take(id, claimed(2, 'b'), 1);
    expect(tally).toMatchObject({ failovers: 1, migrations: 0 });
    tally.take(id, { v: 1, kind: 'released', epoch: 2 }, 2);
    tally.take(id, claimed(3, 'c'), 2);
    expect(tally).toMatchObject({ failovers: 1, migrations: 1 });
  });

  it('takes a process that claims again for no other one, and one that was started again for one', () => {
    const tally = new LiveTally();
    const of = (process: string, epoch: number): LogEntry => ({
      v: 1,
      kind: 'claimed',
      epoch,
      worker: 'a',
      process,
    });
    tally.take(id, of('p', 1), 0);
    tally.take(id, of('p', 2), 1);
    tally.take(id, { v: 1, kind: 'released', epoch: 2, target: null }, 2);
    tally.take(id, of('p', 3), 2);
    expect(tally).toMatchObject({ failovers: 0, migrations: 0 });
    tally.take(id, of('q', 4), 3);
    expect(tally).toMatchObject({ failovers: 1, migrations: 0 });
  });

  it('takes a gateway that claims to end a generation for no worker', () => {
    const tally = new LiveTally();
    tally.take(id, claimed(1, 'a'), 0);
    tally.take(id, claimed(2, 'gateway'), 1);
    // Which came first all the same.
    tally.take(id, claimed(3, 'b'), 1);
    tally.take(id, finish, 2);
    expect(tally).toMatchObject({ failovers: 1, migrations: 0 });
    const waiting = `resp_${'1'.repeat(32)}`;
    tally.take(waiting, claimed(1, 'gateway'), 3);
    tally.take(waiting, claimed(2, 'a'), 3);
    expect(tally).toMatchObject({ failovers: 1, migrations: 0 });
  });

  it('does not guess about owners before it looked, but knows one by its tokens', () => {
    const tally = new LiveTally();
    tally.take(id, claimed(4, 'a'), 0);
    expect(tally).toMatchObject({ failovers: 0, migrations: 0 });
    const other = `resp_${'1'.repeat(32)}`;
    tally.take(other, tokens(1, 2), 0);
    tally.take(other, claimed(2, 'b'), 1);
    expect(tally.failovers).toBe(1);
  });

  it('takes rates over whole seconds, and forgets what has ended', () => {
    const tally = new LiveTally();
    tally.take(id, claimed(1, 'a'), 100);
    tally.take(id, tokens(1, 6), 100.2);
    tally.take(id, tokens(1, 3), 101.9);
    tally.take(id, tokens(1, 50), 103.1);
    expect(tally.rate(103.5)).toBe(3);
    expect(tally.seen(id, 103.5)).toEqual({ epoch: 1, tokens: 59, rate: 3 });
    expect(tally.history(103.5).slice(-3)).toEqual([6, 3, 0]);
    tally.take(id, finish, 104);
    expect(tally.seen(id, 104)).toBeNull();
    expect(Object.fromEntries(tally.ended)).toEqual({ length: 1 });
    expect(tally.history(104.5).slice(-4)).toEqual([6, 3, 0, 50]);
  });
});
