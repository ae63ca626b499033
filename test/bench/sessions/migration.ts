import { TokenLog } from '@baton/log';
import { startSystem } from '../../support/system.ts';
import { summarize } from '../engine/report/statistics.ts';
import type { Row } from './main.ts';
import { percentile, type Streamed, stream } from './stream.ts';

const body = {
  input: 'Tell me a long story about a boat and a bear.',
  max_output_tokens: 600,
  ignore_eos: true,
};
/** How many deltas of the new owner still belong to the move. */
const settleDeltas = 20;

/** Two workers; a stream is moved from one to the other in its middle, again and again. */
export async function* migration({
  rounds = 50,
  say,
}: {
  rounds?: number;
  say: (line: string) => void;
}): AsyncGenerator<Row> {
  const system = await startSystem({ workers: 2 });
  const log = await TokenLog.open(system.natsUrl);
  const quiet = { after: -1, disturb: () => {} };
  try {
    const right = await stream(system.url, log, body, quiet);
    const [normal, moved, stayed]: number[][] = [[], [], []];
    const moves: Move[] = [];
    let wrong = 0;
    for (let round = 0; round < rounds; round++) {
      const after = 20 + ((round * 37) % 100);
      const alone = await stream(system.url, log, body, quiet);
      normal?.push(...alone.gaps);
      const found = await stream(system.url, log, body, {
        after,
        disturb: (id) => fetch(`${system.url}/admin/generations/${id}/migrate`, { method: 'POST' }),
      });
      const move = await moveOf(log, found);
      if (move) {
        const end = move.firstGap + settleDeltas;
        moves.push(move);
        moved?.push(Math.max(...found.gaps.slice(after, end)));
        stayed?.push(Math.max(...alone.gaps.slice(after, end)));
        say(`  move ${moves.length}: ${sayMove(found.gaps, after, move)}`);
      }
      if (found.tokens.join() !== right.tokens.join() || found.missing + found.repeated > 0) wrong++;
    }
    const usual = percentile(normal ?? [], 0.5);
    yield {
      migrations: rounds,
      moved: moves.length,
      'inter-token ms': summarize(normal ?? []),
      'longest gap ms': summarize(moved ?? []),
      'p99 ms': percentile(moved ?? [], 0.99),
      'goal ms': 3 * usual + 20,
      'unmoved: longest ms': summarize(stayed ?? []),
      'unmoved: p99 ms': percentile(stayed ?? [], 0.99),
      'last token → released': summarize(moves.map(({ release }) => release)),
      '→ claimed': summarize(moves.map(({ claim }) => claim)),
      '→ next token': summarize(moves.map(({ token }) => token)),
      'lost, repeated or other tokens': wrong,
    };
  } finally {
    await log.close();
    await system.stop();
  }
}

/** The steps of a move, in ms by the times at which its log's entries were stored. */
interface Move {
  readonly release: number;
  readonly claim: number;
  readonly token: number;
  /** Which of the client's gaps ended with the new owner's first delta. */
  readonly firstGap: number;
}

function sayMove(gaps: readonly number[], after: number, { firstGap, release, claim, token }: Move): string {
  const of = (from: number, to: number) => Math.max(0, ...gaps.slice(from, to)).toFixed(0);
  const client = `longest gap ${of(after, firstGap)} ms before it, ${of(firstGap, firstGap + 1)} in it, ${of(firstGap + 1, firstGap + settleDeltas)} after`;
  return `${client}; log: ${release} + ${claim} + ${token} ms`;
}

/** Null where the stream was not moved. */
async function moveOf(log: TokenLog, { id, lengths }: Streamed): Promise<Move | null> {
  const before = { at: 0, length: 0 };
  let [released, claimed] = [0, 0];
  for await (const { entry, at } of log.history(id)) {
    if (entry.kind === 'released') released = at;
    if (entry.kind === 'claimed' && entry.epoch === 2) claimed = at;
    if (entry.kind !== 'tokens') continue;
    if (claimed > 0) {
      const firstGap = lengths.findIndex((length) => length > before.length);
      return { release: released - before.at, claim: claimed - released, token: at - claimed, firstGap };
    }
    before.at = at;
    before.length += entry.text.length;
  }
  return null;
}
