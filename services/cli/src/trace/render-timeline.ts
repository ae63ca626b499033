import { formatBytes } from '../format-bytes.ts';
import type { StoredSnapshot } from '../stored-snapshots.ts';
import type { Attempt, Timeline } from './timeline.ts';

/** What is stored of the generation's state. */
type Stored = Pick<StoredSnapshot, 'tokens' | 'pages' | 'missing' | 'storedBytes'>;

/** Why nobody knows what is stored. */
export interface UnreadSnapshot {
  readonly unread: string;
}

const barWidth = 60;

/** A generation's life as text: what it was, who ran it when, how it ended. Nothing of what was said. */
export function renderTimeline(
  timeline: Timeline,
  snapshot: Stored | UnreadSnapshot | null,
  traceparent: string | null,
): string {
  const { job, start, attempts, cancelledAt, terminal, duration } = timeline;
  const { temperature, seed, max_tokens } = job.sampling;
  const width = Math.max(6, ...attempts.map(({ worker }) => worker.length));
  const line = (at: number, who: string, what: string) =>
    `${ms(at).padStart(10)}  ${who.padEnd(width)}  ${what}`;
  const events: [number, string][] = [
    [0, line(0, '', `queued: a prompt of ${job.prompt.length} tokens${parentOf(job.parent)}`)],
    ...attempts.flatMap((attempt) => eventsOf(attempt, timeline, line)),
    ...(cancelledAt === null
      ? []
      : [[cancelledAt, line(cancelledAt, '', 'asked to stop')] as [number, string]]),
  ];
  if (terminal) {
    const { entry, at } = terminal;
    const how =
      entry.kind === 'finish'
        ? `finished (${entry.reason}): ${entry.usage.completion_tokens} tokens, ${entry.usage.cached_tokens} of the prompt from memory`
        : `failed (${entry.code}): ${entry.message}`;
    events.push([at, line(at, attempts.at(-1)?.worker ?? '', how)]);
  } else {
    events.push([duration, line(duration, '', 'no end yet')]);
  }
  return [
    `${job.id}  ${job.endpoint}, model ${job.model}, tenant ${job.tenant}`,
    `started ${new Date(start).toISOString()}; at most ${max_tokens} tokens, temperature ${temperature}, seed ${seed}`,
    ...(traceparent === null ? [] : [`trace ${traceparent.split('-')[1]}`]),
    '',
    ...attempts.map((attempt) => bar(attempt, duration, width)),
    ...(attempts.length > 0 ? [`${' '.repeat(width + 2)}0${ms(duration).padStart(barWidth)}`, ''] : []),
    ...events.toSorted(([a], [b]) => a - b).map(([, text]) => text),
    '',
    snapshotLine(snapshot),
  ].join('\n');
}

/** An owner's time from claim to end: without tokens yet (░), and with them (█). */
function bar(
  { worker, claimedAt, firstTokenAt, lastTokenAt, end }: Attempt,
  duration: number,
  width: number,
): string {
  const column = (at: number) => Math.round((at / Math.max(1, duration)) * barWidth);
  const cells = Array.from({ length: barWidth }, (_, at) => {
    const within = (from: number, to: number) =>
      at >= column(from) && at < Math.max(column(to), column(from) + 1);
    if (firstTokenAt !== null && lastTokenAt !== null && within(firstTokenAt, lastTokenAt)) return '█';
    return within(claimedAt, firstTokenAt ?? end?.at ?? duration) ? '░' : ' ';
  });
  return `${worker.padEnd(width)} ▕${cells.join('')}▏ ${end ? fates[end.how] : '…'}`;
}

const fates = { lost: '✗ lost', 'handed over': '→ handed over', resumed: '↻ claimed again', finished: '✓' };

function eventsOf(
  attempt: Attempt,
  timeline: Timeline,
  line: (at: number, who: string, what: string) => string,
): [number, string][] {
  const { epoch, worker, claimedAt, tokensBefore, firstTokenAt, lastTokenAt, tokens, entries, end } = attempt;
  const after = epoch === 1 ? '' : `, ${tokensBefore} tokens of owners before it`;
  const events: [number, string][] = [
    [claimedAt, line(claimedAt, worker, `claimed, epoch ${epoch}${after}`)],
  ];
  if (firstTokenAt !== null && lastTokenAt !== null) {
    const took = lastTokenAt - firstTokenAt;
    const rate = took > 0 && tokens > 1 ? `, ${Math.round((1000 * (tokens - 1)) / took)} tokens/s` : '';
    events.push(
      [
        firstTokenAt,
        line(firstTokenAt, worker, `first token, ${ms(firstTokenAt - claimedAt)} after the claim`),
      ],
      [lastTokenAt, line(lastTokenAt, worker, `last token: ${tokens} in ${entries} entries${rate}`)],
    );
  }
  if (end?.how === 'lost') {
    const wait = waitOf(attempt, timeline);
    const what = wait === null ? 'lost, before it had a token' : `lost; its client waited ${ms(wait)}`;
    events.push([end.at, line(end.at, worker, what)]);
  }
  if (end?.how === 'resumed')
    events.push([end.at, line(end.at, worker, 'claims again: its job has come to it anew')]);
  if (end?.how === 'handed over')
    events.push([end.at, line(end.at, worker, 'handed over at a token boundary')]);
  return events;
}

/**
 * How long the loss of an owner had the client wait: from the last token before it to the next one, whoever's that is. Null
 * where others were lost in the same wait before, which is told once.
 */
function waitOf(attempt: Attempt, { attempts, duration }: Timeline): number | null {
  const at = attempts.indexOf(attempt);
  const last = Math.max(
    0,
    attempts.findLastIndex(({ lastTokenAt }, i) => i <= at && lastTokenAt !== null),
  );
  const waiting = attempts.slice(last, at);
  if (waiting.some(({ end }) => end?.how === 'lost')) return null;
  const next = attempts.slice(at + 1).find(({ firstTokenAt }) => firstTokenAt !== null);
  const [from] = attempts.slice(last);
  return (next?.firstTokenAt ?? duration) - (from?.lastTokenAt ?? from?.claimedAt ?? 0);
}

function parentOf(parent: Timeline['job']['parent']): string {
  return parent === null ? '' : `, ${parent.tokens} of them from ${parent.id}`;
}

function snapshotLine(snapshot: Stored | UnreadSnapshot | null): string {
  if (snapshot === null) return 'snapshot: none is stored, or no longer';
  if ('unread' in snapshot) return `snapshot: cannot be read: ${snapshot.unread}`;
  const { tokens, pages, missing, storedBytes } = snapshot;
  const size = formatBytes(storedBytes);
  return `snapshot: ${tokens} tokens in ${pages.length} pages, ${size}${missing > 0 ? `; ${missing} pages are gone` : ''}`;
}

function ms(milliseconds: number): string {
  return milliseconds < 10_000 ? `${Math.round(milliseconds)} ms` : `${(milliseconds / 1000).toFixed(1)} s`;
}
