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
