import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createEngine, type Engine, type SessionState } from '@baton/engine';
import { convert } from '@baton/hymba';
import { exampleJob } from '@baton/protocol/testing';
import { openSnapshots, SnapshotWriter } from '@baton/snapshot';
import { startTestRedis, tinyStoriesCheckpoint } from '@baton/testing';
import { summarize } from '../engine/report/statistics.ts';
import type { Row } from './main.ts';

const tokens = 600;
const streams = 4;

/** Four streams of hymba-tiny-stories with snapshots every 64 tokens into Redis, and without, in turns. */
export async function* overhead({ rounds = 12 }: { rounds?: number }): AsyncGenerator<Row> {
  const folder = await mkdtemp(join(tmpdir(), 'baton-overhead-'));
  await convert(tinyStoriesCheckpoint(), join(folder, 'model'));
  const engine = await createEngine({ modelDir: join(folder, 'model'), threads: 1 });
  const redis = await startTestRedis();
  const { layout, model } = engine;
  const limits = { ttlSeconds: 600, quotaBytes: 2 ** 30, totalBytes: 2 ** 30 };
  const snapshots = await openSnapshots({ storeUrl: redis.url, limits, tier: 'exact', layout, model });
  try {
    const [without, with_]: [number[], number[]] = [[], []];
    for (let round = 0; round < rounds; round++) {
      without.push(await rate(engine, () => null));
      with_.push(
        await rate(engine, (stream) => {
          const session = `resp_${round}_${stream}`;
          return new SnapshotWriter(snapshots, { tenant: 'bench', session });
        }),
      );
    }
    const [plain, saved] = [summarize(without), summarize(with_)];
    yield {
      streams,
      'tokens each': tokens,
      'tokens/s without': plain,
      'tokens/s with': saved,
      'slower %': 100 * (1 - saved.median / plain.median),
      goal: '≤ 3 %',
    };
  } finally {
    await snapshots.close();
    await engine.close();
    await redis.stop();
    await rm(folder, { recursive: true });
  }
}

async function rate(engine: Engine, writerOf: (stream: number) => SnapshotWriter | null): Promise<number> {
  const start = performance.now();
  const { sampling } = exampleJob({ sampling: { max_tokens: tokens, ignore_eos: true } });
  await Promise.all(
    Array.from({ length: streams }, async (_, stream) => {
      const writer = writerOf(stream);
      const prompt = [1, 5 + stream, 6];
      const request = {
        id: `resp_${stream}`,
        tenant: 'bench',
        prompt,
        replay: [],
        replayTextLength: 0,
        promptLogprobsFrom: 0,
        sampling,
        ...(writer && { states: { every: 64, pageTokens: 64, from: 0 } }),
      };
      const ids = [...prompt];
      let state: SessionState = [];
      for await (const output of engine.generate(request, new AbortController().signal)) {
        if (output.kind === 'tokens') ids.push(...output.tokens);
        if (output.kind !== 'state') continue;
        state = [...state, output.state];
        writer?.add(state, ids);
      }
    }),
  );
  return (1000 * streams * tokens) / (performance.now() - start);
}
