import { type SessionState, stateLayout } from '@baton/engine';
import { type KvCacheForm, parseConfig, referenceConfig } from '@baton/hymba';
import { type CodecTier, codecTiers } from '@baton/snapshot';
import { Codec } from '@baton/snapshot/codec';
import { coarsened, type Page, pagesOf, stateOf } from '@baton/snapshot/pages';
import { noiseState } from '@baton/snapshot/testing';
import { summarize } from '../engine/report/statistics.ts';
import type { Cell } from '../engine/report/table.ts';

/**
 * Stored bytes and speeds of each tier for a session of the 1.5B's sizes, whose state is Gaussian noise, keys with channels
 * of unequal sizes; keys and values are rounded as an engine with that KV cache leaves them. Sizes are compared with that state as
 * float16 together with the meta tokens' keys and values, which every session has and no snapshot holds, and with it alone.
 * Speeds are bytes of the state alone as float16 ÷ the time that the encoding thread had a core, hashing and compressing
 * included.
 */
export async function* codec({
  tokens = 8192,
  rounds = 5,
  tiers = codecTiers,
}: {
  tokens?: number;
  rounds?: number;
  tiers?: readonly CodecTier[];
} = {}): AsyncGenerator<Record<string, Cell>> {
  const config = parseConfig(JSON.stringify(await referenceConfig('hymba-1.5b')), 'hymba-1.5b');
  const layout = stateLayout(config);
  const encoder = new Codec(layout);
  const float16 = 2 * countOf(noiseState(layout, tokens, ''));
  const { metaTokens, caches, kvHeads, keySize, valueSize } = config;
  const withMetaTokens = float16 + 2 * metaTokens * caches.length * kvHeads * (keySize + valueSize);
  /** Llama-3.2-3B: 28 layers of 8 KV heads of 128, keys and values, as float16. */
  const llama = 2 * 28 * 2 * 8 * 128 * tokens;
  for (const tier of tiers) yield measure(tier, 'float16');
  if (tiers.includes('exact')) yield measure('exact', 'float32');

  function measure(tier: CodecTier, kvCache: KvCacheForm): Record<string, Cell> {
    const [encode, decode]: [number[], number[]] = [[], []];
    const [state, later] = [0, 256].map((more) => noiseState(layout, tokens + more, '', 1, kvCache)) as [
      SessionState,
      SessionState,
    ];
    let pages: readonly Page[] = [];
    for (let round = 0; round <= rounds; round++) {
      const start = process.threadCpuUsage();
      const encoded = pagesOf(state, [], tier, encoder);
      const encoding = microseconds(start);
      const middle = process.threadCpuUsage();
      stateOf(encoded.fresh, encoder, { fingerprint: '', tokens });
      const decoding = microseconds(middle);
      pages = encoded.fresh;
      // The first one finds neither compiled code nor memory.
      if (round === 0) continue;
      encode.push(float16 / encoding);
      decode.push(float16 / decoding);
    }
    const entries = pages.map(({ entry }) => entry);
    const stored = sum(entries, ({ bytes }) => bytes);
    const coarse = coarsened(entries, pages, tokens + 256, encoder);
    const { fresh } = pagesOf(later, coarse.known, tier, encoder);
    const added = sum([...coarse.fresh, ...fresh], ({ bytes }) => bytes.length);
    return {
      tier,
      'KV cache': kvCache,
      tokens,
      'stored MB': stored / 1e6,
      'float16 MB': withMetaTokens / 1e6,
      '÷ float16': stored / withMetaTokens,
      '÷ float16 without meta tokens': stored / float16,
      'Llama-3.2-3B ÷ this': llama / stored,
      'encode MB/s of a core': summarize(encode),
      'decode MB/s of a core': summarize(decode),
      'MB for 256 tokens more': added / 1e6,
    };
  }
}

/** What this thread has computed since. */
function microseconds(since: NodeJS.CpuUsage): number {
  const { user, system } = process.threadCpuUsage(since);
  return user + system;
}

function countOf(state: SessionState): number {
  return state
    .flatMap(({ caches, conv, ssm }) => [
      ...caches.flatMap(({ keys, values }) => [keys, values]),
      ...conv,
      ...ssm,
    ])
    .reduce((sum, { length }) => sum + length, 0);
}

function sum<T>(items: readonly T[], of: (item: T) => number): number {
  return items.reduce((total, item) => total + of(item), 0);
}
