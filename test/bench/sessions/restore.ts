import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ModelRunner } from '@baton/engine/model-runner';
import { convert, ensureConverted, referenceConfig, writeRandomCheckpoint } from '@baton/hymba';
import { type CodecTier, openSnapshots } from '@baton/snapshot';
import { startTestRedis, tinyStoriesCheckpoint } from '@baton/testing';
import { summarize } from '../engine/report/statistics.ts';
import type { Row } from './main.ts';

/** Tokens after the snapshot that have to be replayed: as many as there can be at the default cadence. */
const tail = 63;
const chunk = 64;

/** Time to the logits after `tokens` tokens and a tail: from a snapshot in Redis, and from nothing. */
export async function* restore({
  rounds = 5,
  say,
}: {
  rounds?: number;
  say: (line: string) => void;
}): AsyncGenerator<Row> {
  const folder = await mkdtemp(join(tmpdir(), 'baton-restore-'));
  const redis = await startTestRedis();
  try {
    const tiny = join(folder, 'tiny');
    await convert(tinyStoriesCheckpoint(), tiny);
    yield* measure('tiny, fp32', tiny, [512, 1024, 1920], 'exact', redis.url, rounds);
    say('  a random checkpoint of the 1.5B, as int4');
    const random = join(folder, 'random');
    await writeRandomCheckpoint(random, await referenceConfig('hymba-1.5b'));
    const large = await ensureConverted(random, folder, { weights: 'int4' });
    for (const tier of ['exact', 'compact'] as const) {
      yield* measure('1.5b, int4', large.folder, [512, 1024, 2048, 4096], tier, redis.url, rounds, 1);
    }
  } finally {
    await redis.stop();
    await rm(folder, { recursive: true });
  }
}

async function* measure(
  name: string,
  modelDir: string,
  lengths: readonly number[],
  tier: CodecTier,
  storeUrl: string,
  rounds: number,
  recomputeRounds = rounds,
): AsyncGenerator<Row> {
  const runner = await ModelRunner.open(modelDir, { threads: 2, slots: 1 });
  const { layout, model } = runner;
  const limits = { ttlSeconds: 600, quotaBytes: 2 ** 32, totalBytes: 2 ** 32 };
  const snapshots = await openSnapshots({ storeUrl, limits, tier, layout, model });
  const ids = Array.from({ length: Math.max(...lengths) + tail }, (_, i) => 3 + ((i * 7919) % 1000));
  const feed = async (slot: ReturnType<ModelRunner['newState']>, from: number, to: number) => {
    for (let at = from; at < to; at += chunk) {
      const some = ids.slice(at, Math.min(at + chunk, to));
      await runner.run(slot, { ids: some, rows: [some.length - 1] });
    }
  };
  for (const tokens of lengths) {
    const recompute: number[] = [];
    const restored: number[] = [];
    let bytes = 0;
    const ref = { tenant: 'bench', session: `resp_${name}_${tier}_${tokens}` };
    for (let round = 0; round < recomputeRounds; round++) {
      const slot = runner.newState();
      const start = performance.now();
      await feed(slot, 0, tokens);
      const saving = performance.now();
      if (round === 0) await snapshots.save(ref, [await runner.exportState(slot)], ids);
      const saved = performance.now();
      await feed(slot, tokens, tokens + tail);
      recompute.push(performance.now() - saved + saving - start);
      runner.freeState(slot);
    }
    for (let round = 0; round < rounds; round++) {
      const start = performance.now();
      const result = await snapshots.restore(ref, ids, ref);
      if (result.kind !== 'restored') throw new Error(JSON.stringify(result));
      const slot = runner.importState(result.state);
      await feed(slot, tokens, tokens + tail);
      restored.push(performance.now() - start);
      bytes = result.bytes;
      runner.freeState(slot);
    }
    const [slow, quick] = [summarize(recompute), summarize(restored)];
    yield {
      model: name,
      tier,
      tokens,
      'stored MB': bytes / 1e6,
      'restore + replay ms': quick,
      'recompute ms': slow,
      'times faster': slow.median / quick.median,
    };
  }
  await snapshots.close();
  await runner.close();
}
