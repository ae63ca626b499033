import type { Summary } from './statistics.ts';

export type Cell = string | number | Summary | null;

/** Three significant digits, without exponents: what a measurement can claim. */
export function formatNumber(value: number): string {
  if (!Number.isFinite(value)) return String(value);
  if (value !== 0 && Math.abs(value) < 100) return String(Number(value.toPrecision(3)));
  return Math.round(value).toLocaleString('en-US');
}

export function formatCell(cell: Cell): string {
  if (cell === null) return '–';
  if (typeof cell === 'string') return cell;
  if (typeof cell === 'number') return formatNumber(cell);
  return `${formatNumber(cell.median)} (${formatNumber(cell.low)}–${formatNumber(cell.high)})`;
}

/** A Markdown table, aligned so that it also reads as plain text; columns of figures stand to the right. */
export function formatTable(columns: readonly string[], rows: readonly (readonly Cell[])[]): string {
  const texts = rows.map((row) => columns.map((_, at) => formatCell(row[at] ?? null)));
  const widths = columns.map((name, at) =>
    Math.max(name.length, 3, ...texts.map((row) => row[at]?.length ?? 0)),
  );
  const isText = columns.map((_, at) => rows.some((row) => typeof row[at] === 'string'));
  const line = (cells: readonly string[]) =>
    `| ${cells.map((text, at) => (isText[at] ? text.padEnd(widths[at] ?? 0) : text.padStart(widths[at] ?? 0))).join(' | ')} |`;
  const rule = widths.map((width, at) => (isText[at] ? '-'.repeat(width) : `${'-'.repeat(width - 1)}:`));
  return [line(columns), `| ${rule.join(' | ')} |`, ...texts.map(line)].join('\n');
}
