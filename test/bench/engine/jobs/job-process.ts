import { OthersLoad } from '../machine/others-load.ts';
import { decode } from './decode.ts';
import { interference } from './interference.ts';
import { llama } from './llama.ts';
import type { Effort, FromJob, Job, Note, Row } from './messages.ts';
import { prefill } from './prefill.ts';
import { serving } from './serving.ts';
import { transformers } from './transformers.ts';

/** The process of one job: takes it from its parent, sends rows as they come, and ends. */
function rowsOf(job: Job, effort: Effort, note: Note): AsyncIterable<Row> {
  switch (job.kind) {
    case 'decode':
      return decode(job, effort, note);
    case 'prefill':
      return prefill(job, effort, note);
    case 'serving':
      return serving(job, effort);
    case 'interference':
      return interference(job, effort, note);
    case 'llama':
      return llama(job, effort);
    case 'transformers':
      return transformers(job, effort);
  }
}

const send = (message: FromJob): Promise<void> =>
  new Promise((sent) => {
    process.send?.(message, () => sent());
  });

process.once('message', async ({ job, effort }: { readonly job: Job; readonly effort: Effort }) => {
  try {
    const others = new OthersLoad();
    const note = (text: string) => void send({ type: 'note', note: text });
    for await (const row of rowsOf(job, effort, note)) {
      await send({ type: 'row', row: { ...row, 'others % of cores': others.percent() } });
    }
    await send({ type: 'done', peakBytes: process.resourceUsage().maxRSS * 1024 });
  } catch (error) {
    await send({ type: 'failed', reason: error instanceof Error ? error.message : String(error) });
  }
  process.exit();
});
