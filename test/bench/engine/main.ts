/** `npm run bench:engine`: see test/bench/engine/README.md. Progress goes to stderr, the report to stdout. */
import { writeFile } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { resolve } from 'node:path';
import { BatonError } from '@baton/errors';
import type { Row } from './jobs/messages.ts';
import { runJob } from './jobs/run-job.ts';
import { describeMachine } from './machine/describe.ts';
import { readBandwidth, readMethod } from './machine/read-bandwidth.ts';
import { prepareModel } from './models/prepare.ts';
import { type Options, type Part, parseOptions } from './options.ts';
import { comparePeers } from './peers/compare.ts';
import { effortOf, jobOf, limitOf } from './plan.ts';
import { formatReport, type Report, type Section } from './report/report.ts';

const say = (line: string): void => void process.stderr.write(`${line}\n`);

async function measure(options: Options, signal: AbortSignal): Promise<Report> {
  const machine = await describeMachine();
  say(`Reading memory with ${options.threads} threads …`);
  const bandwidth = await readBandwidth(options.threads);
  const effort = effortOf(options, bandwidth.best);
  const sections = new Map<Part, Section>();
  const sectionOf = (part: Part): Section => {
    const section = sections.get(part) ?? { part, rows: [], notes: [] };
    sections.set(part, section);
    return section;
  };
  const parts = options.only.filter((part) => part !== 'peers');
  const subjects = options.models.flatMap((model) => options.weights.map((weights) => ({ model, weights })));
  for (const { model, weights } of parts.length > 0 ? subjects : []) {
    if (signal.aborted) break;
    const subject = await prepareModel(model, weights, options.cache, say);
    for (const part of parts) {
      say(`${part} of ${model} ${weights} …`);
      const job = jobOf(part, subject, options);
      const { rows, notes, failure, peakBytes } = await runJob(job, effort, {
        limit: limitOf(options),
        signal,
      });
      const peak: Row = part === 'serving' && peakBytes !== null ? { 'peak MB': peakBytes / 1e6 } : {};
      sectionOf(part).rows.push(...rows.map((row) => ({ ...row, ...peak })));
      const missing = failure === null ? notes : [...notes, failure];
      sectionOf(part).notes.push(...missing.map((note) => `${model} ${weights}: ${note}`));
    }
  }
  if (options.only.includes('peers') && !signal.aborted) {
    await comparePeers(options, { effort, signal, say }, sectionOf('peers'));
  }
  return {
    command: `npm run bench:engine -- ${process.argv.slice(2).join(' ')}`.trim(),
    date: new Date().toISOString(),
    machine,
    threads: options.threads,
    bandwidth: { ...bandwidth, method: readMethod },
    sections: [...sections.values()],
  };
}

/** Ends what runs; what was measured until then is still reported. */
const interruption = new AbortController();
for (const name of ['SIGINT', 'SIGTERM'] as const) process.once(name, () => interruption.abort());

const root = resolve(import.meta.dirname, '../../..');
try {
  const from = process.env['INIT_CWD'] ?? process.cwd();
  const options = parseOptions(process.argv.slice(2), root, from, availableParallelism());
  const report = await measure(options, interruption.signal);
  process.stdout.write(`${formatReport(report)}\n`);
  if (options.json !== null) await writeFile(options.json, `${JSON.stringify(report, null, 2)}\n`);
} catch (error) {
  say(error instanceof BatonError ? error.message : String(error instanceof Error ? error.stack : error));
  process.exitCode = 1;
}
