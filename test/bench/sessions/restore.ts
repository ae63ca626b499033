import { join } from 'node:path';
import { ModelRunner } from '@baton/engine/model-runner';
import { type CodecTier, openSnapshots } from '@baton/snapshot';
import { startTestRedis } from '@baton/testing';
import { prepareModel } from '../engine/models/prepare.ts';
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
  const cache = join(import.meta.dirname, '../../../.baton/bench');
  const tiny = await prepareModel('tiny', 'fp32', cache, say);
  const large = await prepareModel('1.5b', 'int4', cache, say);
  const redis = await startTestRedis();
  try {
    yield* measure('tiny, fp32', tiny.folder, [512, 1024, 1920], ['exact'], redis.url, rounds);
    const lengths = [512, 1024, 2048, 4096];
    yield* measure('1.5b, int4', large.folder, lengths, ['exact', 'compact'], redis.url, rounds, 1);
  } finally {
    await redis.stop();
  }
}

async function* measure(
  name: string,
  modelDir: string,
  lengths: readonly number[],
  tiers: readonly CodecTier[],
  storeUrl: string,
  rounds: number,
  recomputeRounds = rounds,
): AsyncGenerator<Row> {
  const runner = await ModelRunner.open(modelDir, { threads: 2, slots: 1 });
  const { layout, model } = runner;
  const limits = { ttlSeconds: 600, quotaBytes: 2 ** 32, totalBytes: 2 ** 32 };
  const services = await Promise.all(
    tiers.map(async (tier) => ({
      tier,
      snapshots: await openSnapshots({ storeUrl, limits, tier, layout, model }),
    })),
  );
  const ids = Array.from({ length: Math.max(...lengths) + tail }, (_, i) => 3 + ((i * 7919) % 1000));
  const feed = async (slot: ReturnType<ModelRunner['newState']>, from: number, to: number) => {
    for (let at = from; at < to; at += chunk) {
      const some = ids.slice(at, Math.min(at + chunk, to));
      await runner.run(slot, { ids: some, rows: [some.length - 1] });
    }
  };
  for (const tokens of lengths) {
    const recompute: number[] = [];
    const refOf = (tier: CodecTier) => ({ tenant: 'bench', session: `resp_${name}_${tier}_${tokens}` });
    for (let round = 0; round < recomputeRounds; round++) {
      const slot = runner.newState();
      const start = performance.now();
      await feed(slot, 0, tokens);
      const saving = performance.now();
      if (round === 0) {
        const state = [await runner.exportState(slot)];
        for (const { tier, snapshots } of services) await snapshots.save(refOf(tier), state, ids);
      }
      const saved = performance.now();
      await feed(slot, tokens, tokens + tail);
      recompute.push(performance.now() - saved + saving - start);
      runner.freeState(slot);
    }
    for (const { tier, snapshots } of services) {
      const restored: number[] = [];
      const fetched: number[] = [];
      let bytes = 0;
      for (let round = 0; round < rounds; round++) {
        const start = performance.now();
        const result = await snapshots.restore(refOf(tier), ids, refOf(tier));
        if (result.kind !== 'restored') throw new Error(JSON.stringify(result));
        const slot = runner.importState(result.state);
        fetched.push(performance.now() - start);
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
        'restore ms': summarize(fetched),
        'with 63 tokens replayed ms': quick,
        'recompute ms': slow,
        'times faster': slow.median / quick.median,
      };
    }
  }
  await Promise.all(services.map(({ snapshots }) => snapshots.close()));
  await runner.close();
}
