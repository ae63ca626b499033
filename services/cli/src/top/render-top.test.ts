import { stripVTControlCharacters } from 'node:util';
import type { SeenWorker } from '@baton/fleet';
import { expect, it } from 'vitest';
import { LiveTally } from './live-tally.ts';
import { renderTop } from './render-top.ts';

const id = `resp_${'0'.repeat(32)}`;
const worker = (name: string, silentMs: number, generations: SeenWorker['generations']): SeenWorker => ({
  v: 1,
  worker: name,
  pid: 42,
  host: 'box',
  state: 'running',
  device: 'cpu',
  model: 'tiny',
  fingerprint: 'f',
  slots: 4,
  generations,
  silentMs,
});
const tally = new LiveTally();
tally.take(id, { v: 1, kind: 'claimed', epoch: 1, worker: 'worker-2' }, 6);
tally.take(id, { v: 1, kind: 'claimed', epoch: 2, worker: 'worker-1' }, 7);
tally.take(
  id,
  { v: 1, kind: 'tokens', epoch: 2, sequence_number: 1, tokens: [1, 2, 3, 4, 5, 6], text: '' },
  8.5,
);
const view = {
  workers: [worker('worker-1', 40, [{ id, tokens: 96, stored: 64 }]), worker('worker-2', 3000, [])],
  hears: true,
  queue: { waiting: 2, active: 1, failed: 0 },
  tally,
  now: 9.5,
  time: '12:00:00',
};

it('shows workers, slots, rates, the queue, sessions and failovers', () => {
  const screen = stripVTControlCharacters(renderTop(view, 120, 40));
  expect(screen).toContain('1 of 2 workers  ·  1 of 4 slots  ·  2 tokens/s');
  expect(screen).toContain('queue: 2 waiting, 1 running, 0 refused  ·  failovers 1  ·  migrations 0');
  expect(screen).toMatch(/worker-1 +running +cpu +■··· 1\/4 +2 +40 ms ago/);
  expect(screen).toMatch(/worker-2 +lost +cpu +– +– +3 s ago/);
  expect(screen).toMatch(new RegExp(`${id} +worker-1 +6 +2 +64 of 96 +2, moved`));
});

it('fits the terminal', () => {
  const lines = renderTop(view, 50, 8).split('\n');
  expect(lines).toHaveLength(7);
  expect(Math.max(...lines.map((line) => stripVTControlCharacters(line).length))).toBeLessThanOrEqual(50);
  expect(stripVTControlCharacters(lines.at(-1) ?? '')).toMatch(/^… \d+ more$/);
});

it('says so where Redis is away and where nobody is heard of', () => {
  const screen = stripVTControlCharacters(renderTop({ ...view, queue: null, workers: [] }, 120, 40));
  expect(screen).toContain('Redis does not answer');
  expect(screen).toContain('No worker is heard of.');
});

it('calls no worker lost while NATS is away', () => {
  const screen = stripVTControlCharacters(renderTop({ ...view, hears: false }, 120, 40));
  expect(screen).toContain('NATS does not answer');
  expect(screen).toMatch(/worker-2 +unheard/);
  expect(screen).not.toContain('lost');
});
