/** `npm run bench:sessions`: see test/bench/sessions/README.md. Progress goes to stderr, the report to stdout. */
import { writeFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { codecTiers } from '@baton/snapshot';
import { chosen } from '../chosen.ts';
import { describeMachine } from '../engine/machine/describe.ts';
import { type Cell, formatNumber, formatTable } from '../engine/report/table.ts';
import { codec } from './codec.ts';
import { failover } from './failover.ts';
import { migration } from './migration.ts';
import { overhead } from './overhead.ts';
import { quality } from './quality.ts';
import { restore } from './restore.ts';

const parts = { failover, migration, restore, overhead, codec, quality };
type Part = keyof typeof parts;

const titles: Readonly<Record<Part, string>> = {
  failover: 'kill -9 of the owner → next token at the client',
  migration: 'Planned migration: longest gap between tokens',
  restore: 'Going on from a snapshot, against computing it again',
  overhead: 'Decoding with snapshots, against decoding without',
  codec: "Snapshots of the 1.5B's sizes",
  quality: 'hymba-tiny-stories after a restore, on held-out stories',
};

export type Row = Readonly<Record<string, Cell>>;
const say = (line: string): void => void process.stderr.write(`${line}\n`);

const { values } = parseArgs({
  options: {
    only: { type: 'string' },
    rounds: { type: 'string' },
    tiers: { type: 'string' },
    json: { type: 'string' },
  },
});
const wanted = chosen('only', values.only, Object.keys(parts) as Part[]);
const tiers = chosen('tiers', values.tiers, codecTiers);
const rounds = values.rounds === undefined ? undefined : Number(values.rounds);
const machine = await describeMachine();
const command = `npm run bench:sessions -- ${process.argv.slice(2).join(' ')}`.trim();
process.stdout.write(
  [
    `    ${command}`,
    '',
    `- ${new Date().toISOString()}, ${machine.cpu}, ${machine.cores} cores, ${formatNumber(machine.memoryGB)} GB, ${machine.system}`,
    `- Node ${machine.node}, onnxruntime-node ${machine.onnxruntime}; load of the machine before: ${formatNumber(machine.loadBefore)} per core`,
    '- figures: median (lower–upper quartile), unless a column says otherwise',
    '',
  ].join('\n'),
);
const report: Record<string, Row[]> = {};
for (const part of wanted) {
  say(`${part} …`);
  const rows: Row[] = [];
  for await (const row of parts[part]({ ...(rounds !== undefined && { rounds }), tiers, say }))
    rows.push(row);
  report[part] = rows;
  const columns = [...new Set(rows.flatMap((row) => Object.keys(row)))];
  const cells = rows.map((row) => columns.map((column) => row[column] ?? null));
  process.stdout.write(`\n## ${titles[part]}\n\n${formatTable(columns, cells)}\n`);
}
if (values.json !== undefined) {
  const file = resolve(process.env['INIT_CWD'] ?? process.cwd(), values.json);
  await writeFile(file, `${JSON.stringify({ command, machine, report }, null, 2)}\n`);
}
// What a killed worker leaves open would keep this process alive.
process.exit();
