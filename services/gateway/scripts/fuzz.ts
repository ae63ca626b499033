import { parseArgs } from 'node:util';
import fc from 'fast-check';
import { fuzzCase, tryCase } from '../src/testing/fuzz.ts';
import { TestBench } from '../src/testing/test-bench.ts';
import { toolTemplate } from '../src/testing/tool-template.ts';

/** Sends many random requests and frames to a gateway, and says which are answered as none should be. */
const { values } = parseArgs({
  options: {
    cases: { type: 'string', default: '20000' },
    seed: { type: 'string', default: String(Date.now() % 2 ** 31) },
  },
});
const numRuns = Number(values.cases);
const seed = Number(values.seed);
const atOnce = 16;

const bench = await TestBench.start({ chatTemplate: toolTemplate });
const { url } = await bench.startGateway();
const statuses: Record<number, number> = {};
const failures: string[] = [];
const cases = fc.sample(fuzzCase, { numRuns, seed }).values();

async function work(): Promise<void> {
  for (const fuzzed of cases) {
    try {
      const status = await tryCase(url, fuzzed);
      statuses[status] = (statuses[status] ?? 0) + 1;
    } catch (error) {
      failures.push(`${JSON.stringify(fuzzed)}\n  ${error}`);
    }
  }
}
await Promise.all(Array.from({ length: atOnce }, work));
await bench.stop();

process.stdout.write(`${JSON.stringify({ cases: numRuns, seed, failures: failures.length, statuses })}\n`);
for (const failure of failures.slice(0, 10)) process.stdout.write(`${failure}\n`);
process.exitCode = failures.length > 0 ? 1 : 0;
