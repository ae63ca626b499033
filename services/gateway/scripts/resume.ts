import { parseArgs } from 'node:util';
import { hesitate, readWithDrops } from '../src/testing/resume-cycles.ts';
import { TestBench } from '../src/testing/test-bench.ts';

/** Drops and resumes connections at random, over SSE and WebSocket and three gateways, and checks each stream. */
const { values } = parseArgs({ options: { cycles: { type: 'string', default: '1000' } } });
const wanted = Number(values.cycles);
const atOnce = 8;

const bench = await TestBench.start();
bench.script = hesitate(Math.random);
const gateways = await Promise.all([1, 2, 3].map(() => bench.startGateway()));
const urls = gateways.map(({ url }) => url);
let cycles = 0;
let streams = 0;
const failures: string[] = [];

async function work(): Promise<void> {
  while (cycles < wanted) {
    streams++;
    try {
      const returns = await readWithDrops(urls, Math.random);
      cycles += returns;
    } catch (error) {
      failures.push(String(error));
      cycles++;
    }
  }
}
await Promise.all(Array.from({ length: atOnce }, work));
await bench.stop();

process.stdout.write(`${JSON.stringify({ cycles, streams, failures: failures.length })}\n`);
for (const failure of failures.slice(0, 10)) process.stdout.write(`${failure}\n`);
process.exitCode = failures.length > 0 ? 1 : 0;
