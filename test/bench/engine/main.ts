/** `npm run bench:engine`: see test/bench/README.md. Progress goes to stderr, the report to stdout. */
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

async function measure(options: Options): Promise<Report> {
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
  for (const model of options.models) {
    for (const weights of options.weights) {
      const subject = await prepareModel(model, weights, options.cache, say);
      for (const part of options.only) {
        if (part === 'peers') continue;
        say(`${part} of ${model} ${weights} …`);
        const result = await runJob(jobOf(part, subject, options), effort, limitOf(options));
        const peak: Row = part === 'serving' ? { 'peak MB': (result.peakBytes ?? Number.NaN) / 1e6 } : {};
        sectionOf(part).rows.push(...result.rows.map((row) => ({ ...row, ...peak })));
        if (result.failure) sectionOf(part).notes.push(`${model} ${weights}: ${result.failure}`);
      }
    }
  }
  if (options.only.includes('peers')) await comparePeers(options, effort, sectionOf('peers'), say);
  return {
    command: `npm run bench:engine -- ${process.argv.slice(2).join(' ')}`.trim(),
    date: new Date().toISOString(),
    machine,
    threads: options.threads,
    bandwidth: { ...bandwidth, method: readMethod },
    sections: [...sections.values()],
  };
}

const root = resolve(import.meta.dirname, '../../..');
try {
  const from = process.env['INIT_CWD'] ?? process.cwd();
  const options = parseOptions(process.argv.slice(2), root, from, availableParallelism());
  const report = await measure(options);
  process.stdout.write(`${formatReport(report)}\n`);
  if (options.json !== null) await writeFile(options.json, `${JSON.stringify(report, null, 2)}\n`);
} catch (error) {
  say(error instanceof BatonError ? error.message : String(error instanceof Error ? error.stack : error));
  process.exitCode = 1;
}
