import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ScriptedEngine } from '@baton/engine/testing';
import { TokenLog } from '@baton/log';
import { newId } from '@baton/protocol';
import { exampleJob } from '@baton/protocol/testing';
import { GenerationQueue } from '@baton/queue';
import { openSnapshotStore, type SnapshotStore } from '@baton/snapshot';
import { startTestServers, type TestServers } from '@baton/testing';
import { pino } from 'pino';
import { Worker } from './worker.ts';

const limits = { ttlSeconds: 60, quotaBytes: 1e9, totalBytes: 1e9 };

/** A Redis and a NATS, a folder for states, and the workers that a test starts on them. */
export class TestFleet {
  readonly servers: TestServers;
  readonly queue: GenerationQueue;
  readonly log: TokenLog;
  readonly #folder: string;
  readonly #workers = new Set<Worker>();

  private constructor(servers: TestServers, queue: GenerationQueue, log: TokenLog, folder: string) {
    this.servers = servers;
    this.queue = queue;
    this.log = log;
    this.#folder = folder;
  }

  static async start(): Promise<TestFleet> {
    const servers = await startTestServers();
    const queue = await GenerationQueue.open(servers.redis.url);
    const log = await TokenLog.open(servers.nats.url);
    return new TestFleet(servers, queue, log, await mkdtemp(join(tmpdir(), 'baton-worker-')));
  }

  async stop(): Promise<void> {
    await Promise.all([...this.#workers].map((worker) => this.stopWorker(worker)));
    await Promise.all([this.queue.close(), this.log.close()]);
    await this.servers.stop();
    await rm(this.#folder, { recursive: true });
  }

  async startWorker(
    workerId: string,
    engine: ScriptedEngine,
    { storeUrl = this.#storeUrl, modelName = exampleJob().model, logger = pino({ level: 'silent' }) } = {},
  ): Promise<Worker> {
    const worker = await Worker.start(engine, {
      workerId,
      redisUrl: this.servers.redis.url,
      natsUrl: this.servers.nats.url,
      modelName,
      log: {},
      snapshots: { storeUrl, limits, tier: 'exact' },
      snapshotTokens: 64,
      warmBytes: 1e6,
      maxClaims: 3,
      drainMs: 2000,
      logger,
      stateBytes: () => 0,
      onDrained: () => {},
    });
    this.#workers.add(worker);
    return worker;
  }

  async stopWorker(worker: Worker): Promise<void> {
    this.#workers.delete(worker);
    await worker.stop();
  }

  /** Adds jobs that run until they are stopped; gives their ids. */
  async addJobs(count: number): Promise<string[]> {
    const jobs = Array.from({ length: count }, longJob);
    await Promise.all(jobs.map((job) => this.queue.add(job)));
    return jobs.map(({ id }) => id);
  }

  /** Who runs it. */
  async ownerOf(generation: string): Promise<string | null | undefined> {
    return (await this.log.read(generation))?.owner;
  }

  /** Opens the store of the workers' states, or another one. */
  openStore(url = this.#storeUrl): Promise<SnapshotStore> {
    return openSnapshotStore(url, limits);
  }

  get #storeUrl(): string {
    return `file://${this.#folder}`;
  }
}

/** A generation that runs until it is stopped. */
export const longJob = () =>
  exampleJob({ id: newId('resp', 'default'), sampling: { max_tokens: 4000, ignore_eos: true } });

/** A logger, and the entries that it has written. */
export function recordedLogger(level: 'info' | 'warn') {
  const lines: unknown[] = [];
  const logger = pino({ level }, { write: (line: string) => lines.push(JSON.parse(line)) });
  return { logger, lines };
}
