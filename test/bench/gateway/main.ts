/** `npm run bench:gateway`: see test/bench/gateway/README.md. Progress goes to stderr, the report to stdout. */
import { readFile, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { chosen } from '../chosen.ts';
import { describeMachine } from '../engine/machine/describe.ts';
import { formatNumber, formatTable } from '../engine/report/table.ts';
import { latency, memory, type Row, throughput, ttft } from './parts.ts';

const parts = { latency, ttft, throughput, memory };
type Part = keyof typeof parts;

const titles: Readonly<Record<Part, string>> = {
  latency: 'From the log to the client: later than the same entry over NATS alone',
  ttft: 'Time to the first token, one request after the other',
  throughput: 'What one gateway process delivers',
  memory: 'Memory of idle WebSockets',
};

const say = (line: string): void => void process.stderr.write(`${line}\n`);
const { values } = parseArgs({
  options: {
    only: { type: 'string' },
    seconds: { type: 'string' },
    profile: { type: 'string' },
    json: { type: 'string' },
  },
});
const wanted = chosen('only', values.only, Object.keys(parts) as Part[]);
const seconds = Number(values.seconds ?? 15);
if (!(seconds > 0)) {
  say(`--seconds ${values.seconds} must be a number above 0`);
  process.exit(1);
}

const here = process.env['INIT_CWD'] ?? process.cwd();
const require = createRequire(new URL('../../../services/gateway/src/main.ts', import.meta.url));
const versionOf = async (name: string) =>
  JSON.parse(await readFile(require.resolve(`${name}/package.json`), 'utf8')).version as string;
const machine = await describeMachine();
const versions = { fastify: await versionOf('fastify'), ws: await versionOf('ws') };
const command = `npm run bench:gateway -- ${process.argv.slice(2).join(' ')}`.trim();
process.stdout.write(
  [
    `    ${command}`,
    '',
    `- ${new Date().toISOString()}, ${machine.cpu}, ${machine.cores} cores, ${formatNumber(machine.memoryGB)} GB, ${machine.system}`,
    `- Node ${machine.node}, fastify ${versions.fastify}, ws ${versions.ws}; load of the machine before: ${formatNumber(machine.loadBefore)} per core`,
    '- scripted engines of 8 slots with a fixed step time; clients, workers, gateway, Redis and NATS are processes of their own',
    '',
  ].join('\n'),
);
const report: Record<string, Row[]> = {};
for (const part of wanted) {
  say(`${part} …`);
  const rows: Row[] = [];
  const profileDir = values.profile === undefined ? undefined : resolve(here, values.profile);
  for await (const row of parts[part]({ seconds, profileDir })) rows.push(row);
  report[part] = rows;
  const columns = [...new Set(rows.flatMap((row) => Object.keys(row)))];
  const cells = rows.map((row) => columns.map((column) => row[column] ?? null));
  process.stdout.write(`\n## ${titles[part]}\n\n${formatTable(columns, cells)}\n`);
}
if (values.json !== undefined) {
  await writeFile(
    resolve(here, values.json),
    `${JSON.stringify({ command, machine, versions, report }, null, 2)}\n`,
  );
}
