import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type SessionState, tokensOf, trimState } from '@baton/engine';
import { ModelRunner } from '@baton/engine/model-runner';
import { convert } from '@baton/hymba';
import { loadTokenizer } from '@baton/hymba/tokenizer';
import { type CodecTier, codecTiers, type PageEntry } from '@baton/snapshot';
import { Codec } from '@baton/snapshot/codec';
import { coarsened, type Page, pagesOf, stateOf } from '@baton/snapshot/pages';
import { tinyStoriesCheckpoint, validationStories } from '@baton/testing';
import type { Row } from './main.ts';
import { percentile } from './stream.ts';

/** Tokens of a story that are scored after the first move, and those that are sampled greedily after the last. */
const first = 70;
const greedyTokens = 64;
/** A worker's default: BATON_SNAPSHOT_TOKENS. */
const every = 64;

/**
 * When a state is stored that a move goes on from: for it, as where nobody else has room and the job goes back to the queue; or
 * some time before, with what came since fed again, as after a crash and where another worker stands by.
 */
type Stored = 'for each move' | 'every 64 tokens';

/**
 * What a tier costs: each of the first `rounds` stories is moved `moves` times, its state through pages each time, and scored
 * as it goes.
 */
export async function* quality({
  rounds = 60,
  tiers = codecTiers,
  say,
}: {
  rounds?: number;
  tiers?: readonly CodecTier[];
  say: (line: string) => void;
}): AsyncGenerator<Row> {
  const folder = await mkdtemp(join(tmpdir(), 'baton-quality-'));
  await convert(tinyStoriesCheckpoint(), join(folder, 'model'));
  const runner = await ModelRunner.open(join(folder, 'model'), { threads: 1, slots: 1 });
  try {
    const tokenizer = await loadTokenizer(tinyStoriesCheckpoint());
    const text = await readFile(validationStories(), 'utf8');
    const stories = text
      .split('<|endoftext|>')
      .map((story) => tokenizer.encode(story.trim()))
      .filter((ids) => ids.length > first + 40 && ids.length + greedyTokens <= runner.model.contextLength)
      .slice(0, rounds);
    const rights = [];
    const cases = tiers.flatMap((tier) =>
      (['for each move', 'every 64 tokens'] as const).flatMap((stored) =>
        [1, 4, 16].map((moves) => ({ tier, stored, moves })),
      ),
    );
    for (const ids of stories)
      rights.push(await run(runner, ids, { moves: 0, tier: 'exact', stored: 'for each move' }));
    for (const { tier, stored, moves } of cases) {
      say(`  ${tier}, stored ${stored}, ${moves} moves`);
      const divergences: number[] = [];
      const same: number[] = [];
      let [loss, rightLoss, count] = [0, 0, 0];
      for (const [at, ids] of stories.entries()) {
        const found = await run(runner, ids, { moves, tier, stored });
        const right = rights[at] as Run;
        for (const [row, logits] of found.logits.entries()) {
          const p = logSoftmax(right.logits[row] as Float32Array);
          const q = logSoftmax(logits);
          divergences.push(p.reduce((sum, value, id) => sum + Math.exp(value) * (value - (q[id] ?? 0)), 0));
          const next = ids[first + row + 1] as number;
          loss -= q[next] as number;
          rightLoss -= p[next] as number;
          count++;
        }
        same.push((100 * found.greedy.filter((token, i) => token === right.greedy[i]).length) / greedyTokens);
      }
      const change = Math.exp((loss - rightLoss) / count) - 1;
      yield {
        tier,
        stored,
        moves,
        'perplexity change %': 100 * change,
        'KL mean': mean(divergences),
        'KL p99': percentile(divergences, 0.99),
        '% of 64 greedy tokens equal': mean(same),
        'standard error': Math.sqrt(mean(same.map((value) => (value - mean(same)) ** 2)) / same.length),
        stories: stories.length,
      };
    }
  } finally {
    await runner.close();
    await rm(folder, { recursive: true });
  }
}

interface Run {
  /** After each token from `first` on but the last. */
  readonly logits: readonly Float32Array[];
  readonly greedy: readonly number[];
}

async function run(
  runner: ModelRunner,
  ids: readonly number[],
  { moves, tier, stored }: { readonly moves: number; readonly tier: CodecTier; readonly stored: Stored },
): Promise<Run> {
  const codec = new Codec(runner.layout);
  let slot = runner.newState();
  let pages: readonly Page[] = [];
  let entries: readonly PageEntry[] = [];
  let storedTokens = 0;
  const logits: Float32Array[] = [];
  const points = new Set(
    Array.from({ length: moves }, (_, move) => first + Math.floor((move * (ids.length - first - 1)) / moves)),
  );
  let state: SessionState = [];
  const isStored = (at: number) => (stored === 'for each move' ? points.has(at) : at % every === 0);
  for (let at = 0; at < ids.length - 1; ) {
    const end = at < every ? every : at < first ? first : at + 1;
    const rows = at < first ? [] : [0];
    const step = { ids: ids.slice(at, end), rows };
    const found = await runner.run(slot, step);
    if (rows.length > 0) logits.push(found.slice());
    at = end;
    if (isStored(at)) {
      // As workers do it: each tells what is new since it took over, and keeps the pages that it found.
      const from = tokensOf(state) - (tokensOf(state) % 64);
      state = trimState([...state, await runner.exportState(slot, from)], runner.layout);
      const coarse = coarsened(entries, pages, at, codec);
      const { entries: next, fresh } = pagesOf(state, coarse.known, tier, codec);
      const known = new Map([...pages, ...coarse.fresh, ...fresh].map((page) => [page.entry.key, page]));
      pages = next.map(({ key }) => known.get(key) as Page);
      entries = next;
      storedTokens = at;
    }
    if (!points.has(at)) continue;
    state = stateOf(pages, codec, { fingerprint: runner.model.fingerprint, tokens: storedTokens });
    runner.freeState(slot);
    slot = runner.importState(state);
    if (storedTokens < at) await runner.run(slot, { ids: ids.slice(storedTokens, at), rows: [] });
  }
  const greedy: number[] = [];
  let next = ids.at(-1) as number;
  for (let i = 0; i < greedyTokens; i++) {
    const row = await runner.run(slot, { ids: [next], rows: [0] });
    next = row.reduce((best, value, id) => (value > (row[best] as number) ? id : best), 0);
    greedy.push(next);
  }
  runner.freeState(slot);
  return { logits, greedy };
}

function logSoftmax(logits: Float32Array): Float64Array {
  const largest = logits.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY);
  const sum = logits.reduce((total, value) => total + Math.exp(value - largest), 0);
  return Float64Array.from(logits, (value) => value - largest - Math.log(sum));
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
