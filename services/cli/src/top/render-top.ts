import { stripVTControlCharacters, styleText } from 'node:util';
import type { SeenWorker } from '@baton/fleet';
import type { QueueCounts } from '@baton/queue';
import type { LiveTally } from './live-tally.ts';

export interface View {
  readonly workers: readonly SeenWorker[];
  /** False while NATS is away: what is shown of workers is what was heard before. */
  readonly hears: boolean;
  /** Null while Redis is away. */
  readonly queue: QueueCounts | null;
  readonly tally: LiveTally;
  /** Seconds, on the tally's clock. */
  readonly now: number;
  /** As it is shown. */
  readonly time: string;
}

/** A worker that was not heard of for so long is shown as lost. */
const lostMs = 500;
const bars = '▁▂▃▄▅▆▇█';

type Style = Parameters<typeof styleText>[0];
const paint = (style: Style, text: string) => styleText(style, text, { validateStream: false });
const dim = (text: string) => paint('dim', text);

/** The whole screen, `width` columns wide and `height` lines high, in colours. */
export function renderTop(view: View, width: number, height: number): string {
  const { workers, tally, now } = view;
  const lines = [
    ...header(view),
    '',
    ...throughput(tally, now, width),
    '',
    ...workerTable(view),
    '',
    ...generationTable(view),
  ];
  const room = Math.max(1, height - 1);
  const shown =
    lines.length > room ? [...lines.slice(0, room - 1), dim(`… ${lines.length - room + 1} more`)] : lines;
  const nobody = workers.length === 0 && view.hears ? [paint('yellow', 'No worker is heard of.')] : [];
  return [...shown, ...nobody].map((line) => cut(line, width)).join('\n');
}

function header({ workers, hears, queue, tally, now, time }: View): string[] {
  const alive = workers.filter(({ silentMs }) => silentMs < lostMs);
  const slots = alive.reduce((sum, worker) => sum + worker.slots, 0);
  const used = alive.reduce((sum, { generations }) => sum + generations.length, 0);
  const models = [...new Set(workers.map(({ model }) => model))].join(', ');
  const ended = [...tally.ended].map(([how, number]) => `${how} ${number}`).join(dim(' · '));
  const join = (...parts: string[]) => parts.join(dim('  ·  '));
  const failovers = paint(tally.failovers > 0 ? 'yellow' : 'green', String(tally.failovers));
  return [
    join(
      `${paint(['bold', 'cyan'], 'baton top')}  ${models || dim('no model')}`,
      `${alive.length} of ${workers.length} workers`,
      `${used} of ${slots} slots`,
      paint('bold', `${tally.rate(now).toFixed(0)} tokens/s`),
      dim(time),
    ),
    join(
      queue
        ? `queue: ${queue.waiting} waiting, ${queue.active} running, ${queue.failed} refused`
        : paint('red', 'queue: Redis does not answer'),
      ...(hears ? [] : [paint('red', 'workers: NATS does not answer')]),
      `failovers ${failovers}`,
      `migrations ${tally.migrations}`,
      `ended ${ended || dim('none yet')}`,
    ),
  ];
}

/** Tokens a second over the last minute, as a row of bars. */
function throughput(tally: LiveTally, now: number, width: number): string[] {
  const rates = tally.history(now).slice(-Math.max(10, width - 24));
  const most = Math.max(1, ...rates);
  const row = rates
    .map((rate) => (rate === 0 ? ' ' : bars[Math.ceil((rate / most) * bars.length) - 1]))
    .join('');
  return [`${dim('tokens/s ')}${paint('green', row)}${dim(` at most ${most}`)}`];
}

function workerTable({ workers, hears, tally, now }: View): string[] {
  return table(
    ['WORKER', 'STATE', 'DEVICE', 'SLOTS', 'TOKENS/S', 'HEARD', 'HOST'],
    workers.map((worker) => {
      const { slots, generations, silentMs, host, pid, device } = worker;
      const rate = generations.reduce((sum, { id }) => sum + (tally.seen(id, now)?.rate ?? 0), 0);
      const lost = silentMs >= lostMs;
      const cells = `${'■'.repeat(generations.length)}${'·'.repeat(Math.max(0, slots - generations.length))}`;
      return [
        worker.worker,
        stateOf(worker, hears),
        device,
        lost ? dim('–') : `${slots <= 16 ? `${paint('cyan', cells)} ` : ''}${generations.length}/${slots}`,
        lost ? dim('–') : rate.toFixed(0),
        silentMs < 1000 ? `${silentMs.toFixed(0)} ms ago` : `${(silentMs / 1000).toFixed(0)} s ago`,
        dim(`${host} ${pid}`),
      ];
    }),
  );
}

function stateOf({ state, silentMs }: SeenWorker, hears: boolean): string {
  if (silentMs < lostMs) return paint(state === 'running' ? 'green' : 'yellow', state);
  return hears ? paint('red', 'lost') : dim('unheard');
}

function generationTable({ workers, tally, now }: View): string[] {
  const rows = workers
    .filter(({ silentMs }) => silentMs < lostMs)
    .flatMap(({ worker, generations }) =>
      generations.map(({ id, tokens, stored }) => {
        const seen = tally.seen(id, now);
        const epoch = seen?.epoch ?? 0;
        return [
          id,
          worker,
          seen ? String(seen.tokens) : dim('–'),
          seen ? seen.rate.toFixed(0) : dim('–'),
          tokens === 0 ? dim('none yet') : `${stored} of ${tokens}`,
          epoch > 1 ? paint('yellow', `${epoch}, moved`) : epoch === 0 ? dim('–') : String(epoch),
        ];
      }),
    );
  return table(['GENERATION', 'WORKER', 'TOKENS SEEN', 'TOKENS/S', 'STATE STORED', 'EPOCH'], rows);
}

/** Columns as wide as their widest cell. */
function table(heads: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const all = [heads.map(dim), ...rows];
  const widths = heads.map((_, column) => Math.max(...all.map((row) => lengthOf(row[column] ?? ''))));
  return all.map((row) =>
    row.map((cell, at) => cell + ' '.repeat((widths[at] ?? 0) - lengthOf(cell))).join('  '),
  );
}

const lengthOf = (text: string) => stripVTControlCharacters(text).length;

/** At most `width` columns of a line; one that is cut loses its colours. */
function cut(line: string, width: number): string {
  return lengthOf(line) <= width ? line : `${stripVTControlCharacters(line).slice(0, width - 1)}…`;
}
