/** `npm run bench:telemetry`: see test/bench/telemetry/README.md. Progress goes to stderr, the report to stdout. */
import { writeFile } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { chosen } from '../chosen.ts';
import { describeMachine } from '../engine/machine/describe.ts';
import { summarize } from '../engine/report/statistics.ts';
import { type Cell, formatNumber, formatTable } from '../engine/report/table.ts';
import { estimate } from './estimate.ts';
import { runLane } from './lane.ts';
import { type Load, loadNames } from './loads.ts';
import type { Block, Side } from './pair.ts';
import { profile } from './profile.ts';
import { startSink } from './sink.ts';

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '40' },
    pairs: { type: 'string', default: '6' },
    lanes: { type: 'string', default: '1' },
    only: { type: 'string' },
    profile: { type: 'string' },
    json: { type: 'string' },
  },
});
const [rounds, pairs, lanes] = [Number(values.rounds), Number(values.pairs), Number(values.lanes)];
const wanted = chosen('only', values.only, loadNames);
const coresOfLane = Math.floor(availableParallelism() / lanes);
const say = (line: string): void => void process.stderr.write(`${line}\n`);
if (![rounds, pairs, lanes].every((value) => Number.isInteger(value) && value > 0) || rounds < pairs) {
  say(
    `--rounds ${values.rounds} --pairs ${values.pairs} --lanes ${values.lanes} must be whole numbers, with a round for each pair`,
  );
  process.exit(1);
}
if (coresOfLane < 1) {
  say(`--lanes ${lanes} are more than the ${availableParallelism()} cores`);
  process.exit(1);
}
const profiled = loadNames.find((name) => name === values.profile);
if (values.profile !== undefined && !profiled) {
  say(`--profile ${values.profile} must be one of ${loadNames.join(', ')}`);
  process.exit(1);
}
const titles: Readonly<Record<Load, Readonly<Record<'what' | 'process' | 'unit' | 'goal', string>>>> = {
  decode: { what: 'tokens of four streams', process: 'worker', unit: 'tokens', goal: '≤ 2 %' },
  long: { what: 'answers of 128 tokens, 32 at a time', process: 'gateway', unit: 'answers', goal: '≤ 5 %' },
  short: { what: 'answers of 8 tokens, 32 at a time', process: 'gateway', unit: 'answers', goal: '≤ 5 %' },
};
const machine = await describeMachine();
const command = `npm run bench:telemetry -- ${process.argv.slice(2).join(' ')}`.trimEnd();
process.stdout.write(
  [
    `    ${command}`,
    '',
    `- ${new Date().toISOString()}, ${machine.cpu}, ${machine.cores} cores, ${machine.system}, Node ${machine.node}; load of the machine before: ${formatNumber(machine.loadBefore)} per core`,
    '- hymba-tiny-stories on one worker with one thread; the gateway in front of a scripted engine',
    ...(lanes > 1
      ? [`- ${lanes} lanes of ${pairs} pairs, each lane on ${coresOfLane} cores of its own`]
      : []),
    '',
    profiled ? await reportProfile(profiled) : await reportCost(),
    '',
  ].join('\n'),
);

async function reportProfile(load: Load): Promise<string> {
  const sink = await startSink();
  const { rows, total } = await profile(load, sink.telemetry, rounds);
  sink.stop();
  return [
    `Where the processor time of the ${load} load goes with everything on, ${rounds} times: ${formatNumber(total)} ms`,
    '',
    formatTable(['by', 'ms', '% of the processor time'], rows),
  ].join('\n');
}

async function reportCost(): Promise<string> {
  const measured = await Promise.all(
    Array.from({ length: lanes }, (_, lane) => {
      const first = lane * coresOfLane;
      const cores = lanes > 1 ? { first, last: first + coresOfLane - 1 } : null;
      return runLane({ pairs, rounds, wanted, cores }, (line) =>
        say(lanes > 1 ? `lane ${lane + 1}: ${line}` : line),
      );
    }),
  );
  const groupsOf = (load: Load) => measured.flatMap((lane) => lane[load]);
  const groups = Object.fromEntries(wanted.map((load) => [load, groupsOf(load)]));
  if (values.json !== undefined) {
    const json = { command, date: new Date().toISOString(), machine, blocks: groups };
    await writeFile(
      resolve(process.env['INIT_CWD'] ?? '.', values.json),
      `${JSON.stringify(json, null, 2)}\n`,
    );
  }
  const row = (
    name: string,
    blocksOfPairs: readonly Block[][],
    of: keyof Block[Side],
    goal: string,
  ): Cell[] => {
    const blocks = blocksOfPairs.flat();
    const ofSide = (side: Side) => summarize(blocks.map((block) => block[side][of]));
    const cost = (some: readonly Block[]) => costOf(some, of);
    const { value, low, high } = estimate(blocksOfPairs, cost);
    return [
      name,
      ofSide('off'),
      ofSide('on'),
      `${formatNumber(value)} (${formatNumber(low)} to ${formatNumber(high)})`,
      summarize(blocks.map((block) => cost([block]))),
      blocksOfPairs.map((some) => formatNumber(cost(some))).join(', '),
      goal,
    ];
  };
  const columns = [
    ...['', 'everything off', 'everything on', 'cost, % (95 % of bootstraps)'],
    ...['block by block, %', 'pair by pair, %', 'goal'],
  ];
  const rows = wanted.flatMap((load) => {
    const { what, process, unit, goal } = titles[load];
    const blocks = groupsOf(load);
    return [
      row(`${what}: ${process}, processor ms for one`, blocks, 'processorMs', goal),
      row(`the same: ${unit}/s`, blocks, 'unitsPerSecond', goal),
    ];
  });
  return formatTable(columns, rows);
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
