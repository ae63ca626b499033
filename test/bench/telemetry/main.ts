/** `npm run bench:telemetry`: see test/bench/README.md. Progress goes to stderr, the report to stdout. */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { parseArgs } from 'node:util';
import { type System, startSystem } from '../../support/system.ts';
import { describeMachine } from '../engine/machine/describe.ts';
import { summarize } from '../engine/report/statistics.ts';
import { type Cell, formatNumber, formatTable } from '../engine/report/table.ts';
import { decodeLoad, gatewayLoad } from './loads.ts';

const { values } = parseArgs({ options: { rounds: { type: 'string', default: '40' } } });
const say = (line: string): void => void process.stderr.write(`${line}\n`);
const machine = await describeMachine();

const sink = fork(new URL('./sink.ts', import.meta.url));
const [port] = await once(sink, 'message');
/** Everything on: traces and metrics over OTLP as the default exporters send them, and the page that Prometheus reads. */
const everything = { OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${port}` };
const on = await startSystem({ env: everything, metrics: true });
const off = await startSystem();
const scrape = setInterval(() => {
  for (const process of [on.gateway, ...on.workers]) void process.metrics().catch(() => {});
}, 15_000);

interface Samples {
  readonly decode: number[];
  readonly workerMs: number[];
  readonly requests: number[];
  readonly gatewayMs: number[];
}
const samples: Record<'on' | 'off', Samples> = {
  on: { decode: [], workerMs: [], requests: [], gatewayMs: [] },
  off: { decode: [], workerMs: [], requests: [], gatewayMs: [] },
};
async function measure(system: System, into: Samples): Promise<void> {
  const { tokensPerSecond, workerMs } = await decodeLoad(system);
  into.decode.push(tokensPerSecond);
  into.workerMs.push(workerMs);
  const { requestsPerSecond, gatewayMs } = await gatewayLoad(system);
  into.requests.push(requestsPerSecond);
  into.gatewayMs.push(gatewayMs);
}

// A few times for nothing, until everything is compiled and connected.
for (const system of [on, off, on, off, on, off, on, off])
  await measure(system, { decode: [], workerMs: [], requests: [], gatewayMs: [] });
for (let round = 0; round < Number(values.rounds); round++) {
  // The one that went last goes first, so that a drift of the machine favours neither.
  const order = round % 2 === 0 ? (['on', 'off'] as const) : (['off', 'on'] as const);
  for (const which of order) await measure(which === 'on' ? on : off, samples[which]);
  say(
    `round ${round + 1}: worker ${samples.on.workerMs.at(-1)?.toFixed(2)} ms on, ${samples.off.workerMs.at(-1)?.toFixed(2)} off; ` +
      `gateway ${samples.on.gatewayMs.at(-1)?.toFixed(1)} on, ${samples.off.gatewayMs.at(-1)?.toFixed(1)} off`,
  );
}
clearInterval(scrape);
await Promise.all([on.stop(), off.stop()]);
sink.kill();

/** In percent, over all rounds together: the machine drifts within one by more than telemetry costs. */
function cost(of: keyof Samples, more: 'is better' | 'is worse'): number {
  const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;
  const ratio = mean(samples.on[of]) / mean(samples.off[of]);
  return 100 * (more === 'is better' ? 1 - ratio : ratio - 1);
}
/** Quartiles of the same over neighbouring pairs, which tell how much the machine moved meanwhile. */
function pairs(of: keyof Samples, more: 'is better' | 'is worse'): Cell {
  return summarize(
    samples.on[of].map((value, i) => {
      const ratio = value / (samples.off[of][i] ?? Number.NaN);
      return 100 * (more === 'is better' ? 1 - ratio : ratio - 1);
    }),
  );
}
function row(name: string, of: keyof Samples, more: 'is better' | 'is worse', goal: string): Cell[] {
  return [name, summarize(samples.off[of]), summarize(samples.on[of]), cost(of, more), pairs(of, more), goal];
}
const rows = [
  row('decode, four streams: worker, processor ms a token', 'workerMs', 'is worse', '≤ 2 %'),
  row('the same: tokens/s', 'decode', 'is better', '≤ 2 %'),
  row('short answers, eight at a time: gateway, processor ms a request', 'gatewayMs', 'is worse', '≤ 5 %'),
  row('the same: requests/s', 'requests', 'is better', '≤ 5 %'),
];
process.stdout.write(
  [
    `    npm run bench:telemetry -- --rounds ${values.rounds}`,
    '',
    `- ${new Date().toISOString()}, ${machine.cpu}, ${machine.cores} cores, ${machine.system}, Node ${machine.node}; load of the machine before: ${formatNumber(machine.loadBefore)} per core`,
    '- hymba-tiny-stories, one worker with one thread, gateway and worker on this machine; median (lower–upper quartile)',
    '- processor time tells the cost where other work on the machine moves what a second gives',
    '',
    formatTable(['', 'everything off', 'everything on', 'cost, %', 'pair by pair, %', 'goal'], rows),
    '',
  ].join('\n'),
);
