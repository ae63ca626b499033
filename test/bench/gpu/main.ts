/** `npm run bench:gpu`: see test/bench/gpu/README.md. Progress goes to stderr, the report to stdout. */
import { writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { chosen } from '../chosen.ts';
import { describeMachine } from '../engine/machine/describe.ts';
import { type Cell, formatNumber, formatTable } from '../engine/report/table.ts';
import { bandwidth } from './bandwidth.ts';
import { decode } from './decode.ts';
import { golden } from './golden.ts';
import { gpuName } from './gpu.ts';
import { moves } from './moves.ts';
import { paper } from './paper.ts';
import { prefill } from './prefill.ts';
import { programs } from './programs.ts';

export type Row = Readonly<Record<string, Cell>>;

/** What every part is given. */
export interface Settings {
  /** Where random weights and converted models are kept. */
  readonly cache: string;
  readonly batches: readonly number[];
  readonly contexts: readonly number[];
  /** Steps that are timed for one figure. */
  readonly steps: number;
  readonly say: (line: string) => void;
}

const parts = { golden, bandwidth, decode, prefill, programs, moves, paper };
type Part = keyof typeof parts;

const titles: Readonly<Record<Part, string>> = {
  golden: 'Golden data on the GPU, float32',
  bandwidth: "Copying the GPU's memory",
  decode: 'Hymba-1.5B sizes, 4-bit, one token for each sequence of a batch',
  prefill: 'Hymba-1.5B sizes, 4-bit, prompts in chunks of 256, one sequence after another',
  programs: 'A decode step at context 1,024 by GPU programs (timed one by one, which adds to each)',
  moves: 'Sessions that move between CPU and GPU through snapshots',
  paper: "The paper's table: context 8,192, 4-bit weights, float32 caches, the largest batch that fits",
};

const say = (line: string): void => void process.stderr.write(`${line}\n`);
const numbers = (text: string): number[] => text.split(',').map(Number);

const { values } = parseArgs({
  options: {
    only: { type: 'string' },
    batches: { type: 'string', default: '1,8,32,128' },
    contexts: { type: 'string', default: '1024,4096,8192' },
    steps: { type: 'string', default: '16' },
    cache: { type: 'string' },
    json: { type: 'string' },
  },
});
const wanted = chosen('only', values.only, Object.keys(parts) as Part[]);
const settings: Settings = {
  cache: resolve(values.cache ?? join(import.meta.dirname, '../../../.baton/bench')),
  batches: numbers(values.batches),
  contexts: numbers(values.contexts),
  steps: Number(values.steps),
  say,
};
const machine = await describeMachine();
const command = `npm run bench:gpu -- ${process.argv.slice(2).join(' ')}`.trim();
const gpu = await gpuName();
process.stdout.write(
  [
    `    ${command}`,
    '',
    `- ${new Date().toISOString()}, ${gpu}; ${machine.cpu}, ${machine.cores} cores, ${formatNumber(machine.memoryGB)} GB, ${machine.system}`,
    `- Node ${machine.node}, onnxruntime-node ${machine.onnxruntime} (WebGPU on Vulkan)`,
    '- figures: median (lower–upper quartile), unless a column says otherwise',
    '',
  ].join('\n'),
);
const report: Partial<Record<Part, Row[]>> = {};
for (const part of wanted) {
  say(`${part} …`);
  const rows: Row[] = [];
  report[part] = rows;
  try {
    for await (const row of parts[part](settings)) rows.push(row);
  } catch (error) {
    say(`${part} broke off: ${error instanceof Error ? error.stack : error}`);
    process.exitCode = 1;
  }
  const columns = [...new Set(rows.flatMap((row) => Object.keys(row)))];
  const cells = rows.map((row) => columns.map((column) => row[column] ?? null));
  process.stdout.write(`\n## ${titles[part]}\n\n${formatTable(columns, cells)}\n`);
  if (values.json !== undefined) {
    const json = { command, date: new Date().toISOString(), gpu, machine, report };
    await writeFile(
      resolve(process.env['INIT_CWD'] ?? '.', values.json),
      `${JSON.stringify(json, null, 2)}\n`,
    );
  }
}
