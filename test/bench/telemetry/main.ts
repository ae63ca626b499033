/** `npm run bench:telemetry`: see test/bench/README.md. Progress goes to stderr, the report to stdout. */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { parseArgs } from 'node:util';
import { describeMachine } from '../engine/machine/describe.ts';
import { summarize } from '../engine/report/statistics.ts';
import { type Cell, formatNumber, formatTable } from '../engine/report/table.ts';
import { estimate } from './estimate.ts';
import { type Block, type Load, measurePair, type Side } from './pair.ts';
import { profileDecode } from './profile.ts';

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '40' },
    pairs: { type: 'string', default: '6' },
    profile: { type: 'boolean', default: false },
  },
});
const [rounds, pairs] = [Number(values.rounds), Number(values.pairs)];
const say = (line: string): void => void process.stderr.write(`${line}\n`);
if (![rounds, pairs].every((value) => Number.isInteger(value) && value > 0) || rounds < pairs) {
  say(`--rounds ${values.rounds} --pairs ${values.pairs} must be whole numbers, with a round for each pair`);
  process.exit(1);
}
const machine = await describeMachine();
const sink = fork(new URL('./sink.ts', import.meta.url));
const [port] = await once(sink, 'message');
/** Everything on: traces and metrics over OTLP as the default exporters send them, and the page that Prometheus reads. */
const telemetry = { OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${port}` };

process.stdout.write(
  [
    `    npm run bench:telemetry -- ${process.argv.slice(2).join(' ')}`.trimEnd(),
    '',
    `- ${new Date().toISOString()}, ${machine.cpu}, ${machine.cores} cores, ${machine.system}, Node ${machine.node}; load of the machine before: ${formatNumber(machine.loadBefore)} per core`,
    '- hymba-tiny-stories, one worker with one thread, gateway and worker on this machine',
    '',
    values.profile ? await reportProfile() : await reportCost(),
    '',
  ].join('\n'),
);
sink.kill();

async function reportProfile(): Promise<string> {
  const { rows, total } = await profileDecode(telemetry, rounds);
  return [
    `Where a worker's processor time goes with everything on, ${rounds} times four streams: ${formatNumber(total)} ms`,
    '',
    formatTable(['by', 'ms', '% of the processor time'], rows),
  ].join('\n');
}

async function reportCost(): Promise<string> {
  const groups: Record<Load, Block[][]> = { decode: [], gateway: [] };
  for (let pair = 0; pair < pairs; pair++) {
    say(`pair ${pair + 1} of ${pairs}`);
    // What does not divide goes to the first pairs.
    const blocks = Math.floor(rounds / pairs) + (pair < rounds % pairs ? 1 : 0);
    const measured = await measurePair({ telemetry, blocks, isOdd: pair % 2 === 1 }, say);
    for (const load of ['decode', 'gateway'] as const) groups[load].push(measured[load]);
  }
  const row = (name: string, load: Load, of: keyof Block[Side], goal: string): Cell[] => {
    const ofSide = (side: Side) => summarize(groups[load].flat().map((block) => block[side][of]));
    const cost = (blocks: readonly Block[]) => costOf(blocks, of);
    const { value, low, high } = estimate(groups[load], cost);
    return [
      name,
      ofSide('off'),
      ofSide('on'),
      `${formatNumber(value)} (${formatNumber(low)} to ${formatNumber(high)})`,
      summarize(groups[load].flat().map((block) => cost([block]))),
      groups[load].map((blocks) => formatNumber(cost(blocks))).join(', '),
      goal,
    ];
  };
  const columns = [
    ...['', 'everything off', 'everything on', 'cost, % (95 % of bootstraps)'],
    ...['block by block, %', 'pair by pair, %', 'goal'],
  ];
  return formatTable(columns, [
    row('decode, four streams: worker, processor ms a token', 'decode', 'processorMs', '≤ 2 %'),
    row('the same: tokens/s', 'decode', 'unitsPerSecond', '≤ 2 %'),
    row('short answers, eight at a time: gateway, processor ms a request', 'gateway', 'processorMs', '≤ 5 %'),
    row('the same: requests/s', 'gateway', 'unitsPerSecond', '≤ 5 %'),
  ]);
}

/**
 * In percent: how much more processor time it takes, or how much less comes in a second. Over all blocks together, since some
 * of what telemetry does falls into few of them.
 */
function costOf(blocks: readonly Block[], of: keyof Block[Side]): number {
  const sum = (side: Side) =>
    blocks.reduce(
      (total, block) => total + (of === 'processorMs' ? block[side][of] : 1 / block[side][of]),
      0,
    );
  const ratio = sum('on') / sum('off');
  return 100 * (of === 'processorMs' ? ratio - 1 : 1 - 1 / ratio);
}
