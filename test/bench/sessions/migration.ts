import { TokenLog } from '@baton/log';
import { startSystem } from '../../support/system.ts';
import { summarize } from '../engine/report/statistics.ts';
import type { Row } from './main.ts';
import { percentile, stream } from './stream.ts';

const body = {
  input: 'Tell me a long story about a boat and a bear.',
  max_output_tokens: 600,
  ignore_eos: true,
};

/** Two workers; a stream is moved from one to the other in its middle, again and again. */
export async function* migration({ rounds = 50 }: { rounds?: number }): AsyncGenerator<Row> {
  const system = await startSystem({ workers: 2 });
  const log = await TokenLog.open(system.natsUrl);
  const quiet = { after: -1, disturb: () => {} };
  try {
    const right = await stream(system.url, log, body, quiet);
    const normal: number[] = [];
    const longest: number[] = [];
    let [wrong, moved] = [0, 0];
    for (let round = 0; round < rounds; round++) {
      normal.push(...(await stream(system.url, log, body, quiet)).gaps);
      const found = await stream(system.url, log, body, {
        after: 20 + ((round * 37) % 100),
        disturb: (id) => fetch(`${system.url}/admin/generations/${id}/migrate`, { method: 'POST' }),
      });
      if ((await log.read(found.id))?.epoch === 2) {
        moved++;
        longest.push(found.pause);
      }
      if (found.tokens.join() !== right.tokens.join() || found.missing + found.repeated > 0) wrong++;
    }
    const usual = percentile(normal, 0.5);
    yield {
      migrations: rounds,
      moved,
      'inter-token ms': summarize(normal),
      'longest gap ms': summarize(longest),
      'p99 ms': percentile(longest, 0.99),
      'goal ms': 3 * usual + 20,
      'lost, repeated or other tokens': wrong,
    };
  } finally {
    await log.close();
    await system.stop();
  }
}
