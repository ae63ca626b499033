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

/** Four workers; the one that runs a stream is killed in its middle, again and again. */
export async function* failover({
  rounds = 50,
  say,
}: {
  rounds?: number;
  say: (line: string) => void;
}): AsyncGenerator<Row> {
  const system = await startSystem({ workers: 4 });
  const log = await TokenLog.open(system.natsUrl);
  try {
    const right = await stream(system.url, log, body, { after: -1, disturb: () => {} });
    const pauses: number[] = [];
    let [failed, missing, repeated, wrong] = [0, 0, 0, 0];
    // A stream that ended before the kill could take effect is not counted.
    for (let round = 0; pauses.length + failed < rounds; round++) {
      try {
        const found = await stream(system.url, log, body, {
          after: 20 + ((round * 37) % 100),
          disturb: async (id) => {
            const owner = (await log.read(id))?.owner;
            await system.workers.find((_, at) => owner === `worker-${at + 1}`)?.end('SIGKILL');
          },
        });
        if ((await log.read(found.id))?.epoch === 2) pauses.push(found.pause);
        missing += found.missing;
        repeated += found.repeated;
        if (found.tokens.join() !== right.tokens.join()) wrong++;
      } catch (error) {
        failed++;
        say(String(error));
      }
      await system.addWorker();
      if (round % 10 === 9) say(`  ${round + 1} kills, median ${percentile(pauses, 0.5).toFixed(0)} ms`);
    }
    yield {
      kills: pauses.length,
      'pause ms': summarize(pauses),
      'p99 ms': percentile(pauses, 0.99),
      failed,
      missing,
      repeated,
      'other tokens': wrong,
      goal: 'median ≤ 700, p99 ≤ 1,500, none of the rest',
    };
  } finally {
    await log.close();
    await system.stop();
  }
}
