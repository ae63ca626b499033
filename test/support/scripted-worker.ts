import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ScriptedEngine } from '@baton/engine/testing';
import { exampleJob } from '@baton/protocol/testing';
import type { CodecTier } from '@baton/snapshot';
import { pino } from 'pino';
import { Worker } from '../../services/worker/src/worker.ts';

export interface ScriptedWorkerOptions {
  readonly workerId: string;
  readonly redisUrl: string;
  readonly natsUrl: string;
  readonly tier: CodecTier;
  /** What it says to every prompt. */
  readonly script: string;
  /** Where it notes which generations have killed a worker. */
  readonly folder: string;
}

/**
 * A worker with a scripted engine, one slot, in a process of its own. It kills itself before it samples the output token whose
 * position is a prompt's second token, the first time that it comes to that.
 */
const options = JSON.parse(process.argv[2] ?? '{}') as ScriptedWorkerOptions;
const engine = new ScriptedEngine({
  slots: 1,
  script: () => options.script,
  failure(position, { id, prompt }) {
    const note = join(options.folder, id);
    if (position !== prompt[1] || existsSync(note)) return undefined;
    writeFileSync(note, '');
    return 'exit';
  },
});
const { workerId, redisUrl, natsUrl, tier } = options;
const limits = { ttlSeconds: 600, quotaBytes: 2 ** 30, totalBytes: 2 ** 30 };
const worker = await Worker.start(engine, {
  workerId,
  redisUrl,
  natsUrl,
  modelName: exampleJob().model,
  log: {},
  snapshots: { storeUrl: redisUrl, limits, tier },
  snapshotTokens: 4,
  warmBytes: 0,
  maxClaims: 2,
  drainMs: 1000,
  logger: pino({ level: 'silent' }),
  stateBytes: () => 0,
  onDrained: () => {},
});
process.once('SIGTERM', async () => {
  await worker.stop();
  process.exit();
});
process.send?.('ready');
