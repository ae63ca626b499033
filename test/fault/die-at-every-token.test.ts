import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { byteVocabulary } from '@baton/engine/testing';
import { TokenLog } from '@baton/log';
import { type LogState, newId } from '@baton/protocol';
import { exampleJob } from '@baton/protocol/testing';
import { GenerationQueue } from '@baton/queue';
import { codecTiers } from '@baton/snapshot';
import { startTestServers, type TestServers } from '@baton/testing';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { ScriptedWorkerOptions } from '../support/scripted-worker.ts';

/** Characters of one, two and four bytes, and one of several code points: most tokens end inside a character. */
const script = 'né 👩‍👧.';
/** One for each byte, and the end of sequence. */
const positions = byteVocabulary.encode(script).length + 1;

let servers: TestServers;
let log: TokenLog;
let queue: GenerationQueue;
let folder: string;
const workers = new Set<ChildProcess>();
let started = 0;
let stopping = false;

beforeAll(async () => {
  servers = await startTestServers();
  log = await TokenLog.open(servers.nats.url);
  queue = await GenerationQueue.open(servers.redis.url);
  folder = await mkdtemp(join(tmpdir(), 'baton-test-'));
  await Promise.all(codecTiers.map(startWorker));
});
afterAll(async () => {
  stopping = true;
  await Promise.all(
    [...workers].map(async (worker) => {
      const exit = once(worker, 'exit');
      worker.kill('SIGTERM');
      await exit;
    }),
  );
  await Promise.allSettled([log?.close(), queue?.close()]);
  await servers?.stop();
  await rm(folder, { recursive: true });
});

/** Keeps a worker running whose snapshots are of `tier`; those of other tiers are gone on from all the same. */
async function startWorker(tier: (typeof codecTiers)[number]): Promise<void> {
  const options: ScriptedWorkerOptions = {
    workerId: `scripted-${++started}`,
    redisUrl: servers.redis.url,
    natsUrl: servers.nats.url,
    tier,
    script,
    folder,
  };
  const worker = fork(new URL('../support/scripted-worker.ts', import.meta.url), [JSON.stringify(options)]);
  workers.add(worker);
  worker.once('exit', () => {
    workers.delete(worker);
    if (!stopping) void startWorker(tier);
  });
  await once(worker, 'message');
}

/** Runs a generation that kills its worker before output token `position`; null: none. */
async function run(position: number | null): Promise<LogState> {
  const job = exampleJob({
    id: newId('resp', 'default'),
    prompt: [1, position ?? positions],
    sampling: { max_tokens: 100 },
  });
  const feed = await log.subscribe(job.id);
  await queue.add(job);
  await log.appendQueued(job);
  for await (const _ of feed.entries());
  return feed.state;
}

it('a worker that dies at any token is replaced, and its reader sees what an undisturbed run gives', async () => {
  const right = await run(null);
  expect(right).toMatchObject({ epoch: 1, text: script, terminal: { kind: 'finish', reason: 'stop' } });
  expect(right.tokens).toHaveLength(positions);
  const found = await Promise.all(Array.from({ length: positions }, (_, position) => run(position)));
  for (const [position, { epoch, tokens, text, terminal }] of found.entries()) {
    expect({ position, epoch, tokens, text, terminal }).toEqual({
      position,
      epoch: 2,
      tokens: right.tokens,
      text: script,
      terminal: { ...right.terminal, epoch: 2, sequence_number: expect.any(Number) },
    });
  }
  expect(await readdir(folder)).toHaveLength(positions);
}, 180_000);
