import type { LogEntry } from '@baton/protocol';
import { exampleJob } from '@baton/protocol/testing';
import { expect, it } from 'vitest';
import { renderTimeline } from './render-timeline.ts';
import { timelineOf } from './timeline.ts';

const job = exampleJob();
const tokens = (epoch: number, sequence_number: number, count: number): LogEntry => ({
  v: 1,
  kind: 'tokens',
  epoch,
  sequence_number,
  tokens: Array.from({ length: count }, () => 5),
  text: 'secret words',
});
const claimed = (epoch: number, worker: string): LogEntry => ({ v: 1, kind: 'claimed', epoch, worker });
const usage = { prompt_tokens: job.prompt.length, cached_tokens: 0, completion_tokens: 15 };
const history: { entry: LogEntry; at: number }[] = [
  { at: 1000, entry: { v: 1, kind: 'queued', epoch: 0, sequence_number: 0, job } },
  { at: 1010, entry: claimed(1, 'worker-1') },
  { at: 1050, entry: tokens(1, 1, 1) },
  { at: 1150, entry: tokens(1, 2, 9) },
  { at: 1700, entry: claimed(2, 'worker-2') },
  { at: 1750, entry: tokens(2, 3, 2) },
  { at: 1800, entry: { v: 1, kind: 'released', epoch: 2 } },
  { at: 1810, entry: claimed(3, 'worker-3') },
  { at: 1830, entry: tokens(3, 4, 3) },
  { at: 1900, entry: { v: 1, kind: 'finish', epoch: 3, sequence_number: 5, reason: 'stop', usage } },
];

it('tells each owner apart, and how its part ended', () => {
  const timeline = timelineOf(history);
  expect(timeline).toMatchObject({ start: 1000, duration: 900, cancelledAt: null, terminal: { at: 900 } });
  expect(timeline?.attempts).toMatchObject([
    { worker: 'worker-1', tokens: 10, entries: 2, firstTokenAt: 50, end: { how: 'lost', at: 700 } },
    { worker: 'worker-2', tokensBefore: 10, end: { how: 'handed over', at: 800 } },
    { worker: 'worker-3', tokensBefore: 12, tokens: 3, end: { how: 'finished', at: 900 } },
  ]);
  expect(timelineOf([])).toBeNull();
});

it('prints them in order, without what was said', () => {
  const timeline = timelineOf(history);
  if (!timeline) throw new Error('no timeline');
  const head = { part: 'kv', tier: 'exact', group: 0, first: 0, count: 8 } as const;
  const page = { ...head, key: 'ab'.repeat(32), bytes: 600, rawBytes: 800 };
  const text = renderTimeline(
    timeline,
    { tokens: 8, pages: [page, page, page], missing: 1, storedBytes: 2000 },
    `00-${'a'.repeat(32)}-b-01`,
  );
  const lines = text.split('\n');
  expect(text).toContain(`trace ${'a'.repeat(32)}`);
  expect(text).toContain('worker-1 ▕');
  expect(text).toContain('lost; its client waited 600 ms');
  expect(text).toContain('claimed, epoch 2, 10 tokens of owners before it');
  expect(text).toContain('finished (stop): 15 tokens');
  expect(text).toContain('snapshot: 8 tokens in 3 pages, 2 kB; 1 pages are gone');
  expect(text).not.toContain('secret');
  const times = lines.flatMap((line) => {
    const match = /^ +(\d+) ms {2}/.exec(line);
    return match ? [Number(match[1])] : [];
  });
  expect(times).toEqual(times.toSorted((a, b) => a - b));
  expect(times.length).toBeGreaterThan(10);
});

it('tells of one wait where several owners are lost in it, from the last token to the next one of any owner', () => {
  const print = (entries: typeof history) => {
    const timeline = timelineOf(entries);
    if (!timeline) throw new Error('no timeline');
    return renderTimeline(timeline, null, null).match(/lost.*$/gm);
  };
  const [queued] = history.map(({ entry }) => entry);
  if (!queued) throw new Error('no entry');
  const lostTwice = [
    { at: 1000, entry: queued },
    { at: 1010, entry: claimed(1, 'worker-1') },
    { at: 1050, entry: tokens(1, 1, 1) },
    { at: 1500, entry: claimed(2, 'worker-2') },
    { at: 2500, entry: claimed(3, 'worker-3') },
  ];
  const bars = ['lost', 'lost'];
  const goneOn = [...lostTwice, { at: 2600, entry: tokens(3, 2, 1) }];
  expect(print(goneOn)).toEqual([...bars, 'lost; its client waited 1550 ms', 'lost, before it had a token']);
  // No token has come since.
  expect(print(lostTwice)).toEqual([
    ...bars,
    'lost; its client waited 1450 ms',
    'lost, before it had a token',
  ]);
  // Two waits, with a token between.
  const between = [...lostTwice.slice(0, 4), { at: 1600, entry: tokens(2, 2, 1) }, ...lostTwice.slice(4)];
  expect(print([...between, { at: 2700, entry: tokens(3, 3, 1) }])).toEqual([
    ...bars,
    'lost; its client waited 550 ms',
    'lost; its client waited 1100 ms',
  ]);
});

it('takes a process that claims again for no lost owner, and one that was started again for one', () => {
  const of = (process: string, epoch: number): LogEntry => ({
    v: 1,
    kind: 'claimed',
    epoch,
    worker: 'worker-1',
    process,
  });
  const [queued] = history;
  if (!queued) throw new Error('no entry');
  const timeline = timelineOf([
    queued,
    { at: 1010, entry: of('p', 1) },
    { at: 1050, entry: tokens(1, 1, 1) },
    { at: 1500, entry: of('p', 2) },
    { at: 1600, entry: tokens(2, 2, 1) },
    { at: 2500, entry: of('q', 3) },
  ]);
  expect(timeline?.attempts.map(({ end }) => end?.how)).toEqual(['resumed', 'lost', undefined]);
  const text = timeline && renderTimeline(timeline, null, null);
  expect(text?.match(/▏ .*$/gm)).toEqual(['▏ ↻ claimed again', '▏ ✗ lost', '▏ …']);
  expect(text?.match(/lost;.*$/gm)).toEqual(['lost; its client waited 900 ms']);
});
