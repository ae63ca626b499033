import type { Row } from '../jobs/messages.ts';
import type { Machine } from '../machine/describe.ts';
import type { Part } from '../options.ts';
import type { Summary } from './statistics.ts';
import { formatNumber, formatTable } from './table.ts';

export interface Section {
  readonly part: Part;
  readonly rows: Row[];
  /** What is missing, and why. */
  readonly notes: string[];
}

export interface Report {
  readonly command: string;
  readonly date: string;
  readonly machine: Machine;
  readonly threads: number;
  /** Bytes per second that memory gave. */
  readonly bandwidth: { readonly summary: Summary; readonly best: number; readonly method: string };
  readonly sections: readonly Section[];
}

const titles: Readonly<Record<Part, string>> = {
  decode: 'Decode: one token for each sequence of a batch',
  prefill: 'Prefill of one prompt',
  serving: 'The engine on its own thread, greedy and with top-p',
  interference: 'Running streams while a long prompt is prefilled, and while sessions are restored',
  peers: 'What else runs models from TypeScript',
};

/** The whole report as Markdown that also reads as plain text. */
export function formatReport(report: Report): string {
  const { machine, threads, bandwidth } = report;
  const gigabytes = (bytes: number) => formatNumber(bytes / 1e9);
  const { median, low, high } = bandwidth.summary;
  const head = [
    `    ${report.command}`,
    '',
    `- ${report.date}, ${machine.cpu}, ${machine.cores} cores (${machine.instructions.join(', ')}), ${formatNumber(machine.memoryGB)} GB, ${machine.system}`,
    `- Node ${machine.node}, onnxruntime-node ${machine.onnxruntime}, ${threads} threads; load of the machine before: ${formatNumber(machine.loadBefore)} per core`,
    `- memory reads: ${gigabytes(bandwidth.best)} GB/s at best, median ${gigabytes(median)} (${gigabytes(low)}–${gigabytes(high)}); ${bandwidth.method}`,
    '- figures: median (lower–upper quartile)',
  ];
  return [...head, ...report.sections.flatMap(formatSection)].join('\n');
}

function formatSection({ part, rows, notes }: Section): string[] {
  const columns = [...new Set(rows.flatMap((row) => Object.keys(row)))];
  const table = formatTable(
    columns,
    rows.map((row) => columns.map((column) => row[column] ?? null)),
  );
  return [
    '',
    `## ${titles[part]}`,
    '',
    ...(rows.length > 0 ? [table] : []),
    ...notes.map((note) => `\nNot measured: ${note.split('\n', 1)[0]}`),
  ];
}
