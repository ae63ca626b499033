import type { TraceData, TracedSpan } from './data.ts';

const [width, labelWidth, rowHeight, top] = [1440, 330, 22, 112];
const chartWidth = width - labelWidth - 110;
const colours = ['#3274d9', '#e0752d', '#299c46'];
const lostName = 'process generations';
const font = 'Inter, Segoe UI, DejaVu Sans, sans-serif';

/** One generation's spans over time: a row each, coloured by process, with events, the kill and the links between attempts. */
export function drawTrace({ spans, killedAt, recorded }: TraceData): string {
  const rows = inTreeOrder(withLostSpan(spans, killedAt));
  const end = Math.max(...spans.map((span) => span.end));
  const height = top + rows.length * rowHeight + 56;
  const x = (at: number) => labelWidth + (at / end) * chartWidth;
  const processes = [...new Set(spans.map(({ process }) => process))];
  const colourOf = (process: string) => colours[processes.indexOf(process) % colours.length] ?? '#555';
  const rowOf = new Map(rows.map(({ span }, row) => [span.id, row]));
  const bottom = top + rows.length * rowHeight;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" font-family="${font}">`,
    `<rect width="${width}" height="${height}" fill="#ffffff"/>`,
    text(20, 34, 'One generation whose worker is killed in its middle: one trace', { size: 20, weight: 600 }),
    text(
      20,
      56,
      `${spans.length} spans of ${processes.length} processes over ${seconds(end)}, ${recorded.slice(0, 10)}; dots are events of a span (chunks of the prefill, states told), curves the links to the first attempt`,
      { size: 12, fill: '#6b7280' },
    ),
    ...processes.map((process, i) => {
      const at = 20 + i * 150;
      return `<rect x="${at}" y="70" width="12" height="12" rx="2" fill="${colourOf(process)}"/>${text(at + 18, 80, process, { size: 12 })}`;
    }),
    ...ticks(end).map(
      (at) =>
        `<line x1="${x(at)}" x2="${x(at)}" y1="${top - 6}" y2="${bottom}" stroke="#eceef1"/>${text(x(at), top - 12, seconds(at), { size: 10, fill: '#6b7280', anchor: 'middle' })}`,
    ),
    ...rows.map((_, row) =>
      row % 2 === 0
        ? `<rect x="0" y="${top + row * rowHeight}" width="${width}" height="${rowHeight}" fill="#f8f9fa"/>`
        : '',
    ),
    ...rows.flatMap(({ span }) => span.links.map((id) => drawLink(span, id, rowOf, spans, x))),
    ...rows.map(({ span, depth }, row) =>
      drawRow(span, depth, top + row * rowHeight, x, colourOf(span.process)),
    ),
    `<line x1="${x(killedAt)}" x2="${x(killedAt)}" y1="${top - 4}" y2="${bottom + 6}" stroke="#c4162a" stroke-width="1.5" stroke-dasharray="5 4"/>`,
    text(x(killedAt), bottom + 22, 'SIGKILL; the spans that its worker had not ended are gone with it', {
      size: 12,
      fill: '#c4162a',
      anchor: 'middle',
    }),
    '</svg>',
    '',
  ].join('\n');
}

/**
 * The span that a killed worker had open around all of its others was never told, and theirs is its id: it is put back, from
 * the first of them to the kill.
 */
function withLostSpan(spans: readonly TracedSpan[], killedAt: number): TracedSpan[] {
  const ids = new Set(spans.map(({ id }) => id));
  const torn = spans.filter(
    ({ parent, process }) => parent !== null && !ids.has(parent) && process !== 'gateway',
  );
  const around = torn.find(({ name }) => name === 'claim');
  const added = spans.find(({ name }) => name.startsWith('add '));
  if (!around || !added) return [...spans];
  const lost: TracedSpan = {
    id: String(around.parent),
    parent: added.id,
    name: lostName,
    process: around.process,
    start: around.start,
    end: killedAt,
    attributes: {},
    events: [],
    links: [],
  };
  const below = torn.map((span) => ({ ...span, parent: lost.id }));
  return [...spans.filter((span) => !torn.includes(span)), lost, ...below].toSorted(
    (a, b) => a.start - b.start,
  );
}

/** Children under their parents, each in order of time. */
function inTreeOrder(spans: readonly TracedSpan[]): { span: TracedSpan; depth: number }[] {
  const ids = new Set(spans.map(({ id }) => id));
  const childrenOf = (parent: string | null) =>
    spans.filter((span) => (span.parent !== null && ids.has(span.parent) ? span.parent : null) === parent);
  const below = (parent: string | null, depth: number): { span: TracedSpan; depth: number }[] =>
    childrenOf(parent).flatMap((span) => [{ span, depth }, ...below(span.id, depth + 1)]);
  return below(null, 0);
}

function drawRow(
  span: TracedSpan,
  depth: number,
  y: number,
  x: (at: number) => number,
  colour: string,
): string {
  const { name, start, end, events, attributes } = span;
  const barWidth = Math.max(2, x(end) - x(start));
  const isLost = name === lostName && Object.keys(attributes).length === 0;
  const took = isLost ? 'not ended, so never told' : `${seconds(end - start)}${noteOf(name, attributes)}`;
  const right = x(end) + 6;
  // Words that would leave the picture stand before their bar.
  const before = right + took.length * 5.6 > width - 8;
  return [
    text(20 + depth * 14, y + 15, name, { size: 12 }),
    `<rect x="${x(start)}" y="${y + 5}" width="${barWidth}" height="${rowHeight - 10}" rx="2" ${isLost ? `fill="${colour}" fill-opacity="0.12" stroke="${colour}" stroke-dasharray="4 3"` : `fill="${colour}" fill-opacity="0.85"`}/>`,
    ...events.map(({ at }) => `<circle cx="${x(at)}" cy="${y + rowHeight / 2}" r="2" fill="#ffffff"/>`),
    before
      ? text(x(start) - 6, y + 15, took, { size: 10, fill: '#374151', anchor: 'end' })
      : text(right, y + 15, took, { size: 10, fill: '#6b7280' }),
  ].join('');
}

/** What matters most about a span, beside how long it took. */
function noteOf(name: string, attributes: TracedSpan['attributes']): string {
  switch (name) {
    case 'restore':
      return `, ${attributes['baton.restore.source']}: ${attributes['baton.restore.tokens']} tokens`;
    case 'prefill':
      return `, ${attributes['baton.replayed_tokens']} tokens replayed`;
    case 'decode':
      return `, ${attributes['gen_ai.usage.output_tokens']} tokens`;
    case 'claim':
      return `, epoch ${attributes['baton.epoch']}`;
    case 'snapshot':
      return `, ${Math.round(Number(attributes['baton.snapshot.new_bytes'] ?? 0) / 1024)} KiB new`;
    default:
      return '';
  }
}

function drawLink(
  span: TracedSpan,
  target: string,
  rowOf: ReadonlyMap<string, number>,
  spans: readonly TracedSpan[],
  x: (at: number) => number,
): string {
  const other = spans.find(({ id }) => id === target);
  const middle = (id: string) => top + (rowOf.get(id) ?? 0) * rowHeight + rowHeight / 2;
  if (!other) return '';
  const [fromX, fromY, toX, toY] = [x(span.start), middle(span.id), x(other.end), middle(other.id)];
  const bend = (fromX + toX) / 2;
  return `<path d="M${fromX} ${fromY} C${bend} ${fromY} ${bend} ${toY} ${toX + 4} ${toY}" fill="none" stroke="#8f3bb8" stroke-opacity="0.55" stroke-width="1.2"/><circle cx="${toX + 4}" cy="${toY}" r="2.5" fill="#8f3bb8"/>`;
}

/** Round times, about eight of them. */
function ticks(end: number): number[] {
  const step = [10, 20, 50, 100, 200, 500, 1000, 2000, 5000].find((size) => end / size <= 10) ?? 10_000;
  return Array.from({ length: Math.floor(end / step) + 1 }, (_, i) => i * step);
}

function seconds(ms: number): string {
  return ms < 10 ? `${ms.toFixed(1)} ms` : ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(2)} s`;
}

interface TextStyle {
  readonly size: number;
  readonly fill?: string;
  readonly weight?: number;
  readonly anchor?: 'middle' | 'end';
}

function text(
  x: number,
  y: number,
  content: string,
  { size, fill = '#1f2937', weight, anchor }: TextStyle,
): string {
  const escaped = content.replaceAll('&', '&amp;').replaceAll('<', '&lt;');
  const more = `${weight === undefined ? '' : ` font-weight="${weight}"`}${anchor === undefined ? '' : ` text-anchor="${anchor}"`}`;
  return `<text x="${x.toFixed(1)}" y="${y}" font-size="${size}" fill="${fill}"${more}>${escaped}</text>`;
}
