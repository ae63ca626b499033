import { setTimeout as sleep } from 'node:timers/promises';
import { TokenLog } from '@baton/log';
import { GenerationQueue } from '@baton/queue';
import type { CodecTier } from '@baton/snapshot';
import { startTcpProxy, startTestRedis, type TcpProxy, type TestServer } from '@baton/testing';
import type { ServiceProcess } from '../../support/processes.ts';
import { type System, type SystemGateway, startSystem } from '../../support/system.ts';

/** A worker and its ways to everybody else. */
export interface TargetWorker {
  readonly id: string;
  readonly process: ServiceProcess;
  readonly nats: TcpProxy;
  readonly redis: TcpProxy;
  readonly store: TcpProxy;
}

const gateways = 2;
const workers = 2;

/** A system whose every part can be hurt: two gateways, two workers behind proxies, a Redis of its own for snapshots. */
export class TargetSystem {
  readonly store: TestServer;
  readonly system: System;
  readonly log: TokenLog;
  readonly queue: GenerationQueue;
  #gateways: SystemGateway[] = [];
  #workers: TargetWorker[] = [];
  #tier: CodecTier = 'exact';

  private constructor(store: TestServer, system: System, log: TokenLog, queue: GenerationQueue) {
    this.store = store;
    this.system = system;
    this.log = log;
    this.queue = queue;
    this.#gateways = [{ url: system.url, process: system.gateway }];
  }

  static async start(): Promise<TargetSystem> {
    const store = await startTestRedis();
    const env = {
      BATON_SNAPSHOT_STORE: store.url,
      BATON_LOG_LEVEL: 'warn',
      // So that much happens in a short time: prefills of many steps, snapshots at many tokens.
      BATON_SNAPSHOT_TOKENS: '16',
      BATON_DRAIN_TIMEOUT: '2',
    };
    const system = await startSystem({ workers: 0, env });
    const log = await TokenLog.open(system.natsUrl);
    return new TargetSystem(store, system, log, await GenerationQueue.open(system.servers.redis.url));
  }

  /** Addresses of the gateways that live. */
  get urls(): string[] {
    return this.#gateways.filter(({ process }) => process.alive).map(({ url }) => url);
  }

  /** The gateway that clients ask first. */
  get firstGateway(): ServiceProcess {
    const [first] = this.#gateways;
    if (!first) throw new Error('there is no gateway');
    return first.process;
  }

  /** Replaces what died, and what stores snapshots in another way than `tier`; resolves when all take requests. */
  async heal(tier: CodecTier): Promise<void> {
    const outdated = this.#workers.filter(({ process }) => tier !== this.#tier || !process.alive);
    await Promise.all(outdated.map((worker) => this.#remove(worker)));
    this.#tier = tier;
    this.#gateways = this.#gateways.filter(({ process }) => process.alive);
    const missing = (wanted: number, found: readonly unknown[]) =>
      Array.from({ length: wanted - found.length });
    await Promise.all([
      ...missing(gateways, this.#gateways).map(async () => {
        this.#gateways.push(await this.system.addGateway());
      }),
      ...missing(workers, this.#workers).map(() => this.#addWorker()),
    ]);
    await Promise.all([this.#untilAllRun(), ...this.urls.map(untilReady)]);
  }

  /** What all processes wrote, for whoever has to find out what went wrong. */
  get output(): string {
    return this.system.processes.map(({ id, output }) => `--- ${id}\n${output}`).join('\n');
  }

  /** The worker that runs a generation now; null where nobody does. */
  async ownerOf(id: string): Promise<TargetWorker | null> {
    const owner = (await this.log.read(id))?.owner;
    return this.#workers.find((worker) => worker.id === owner) ?? null;
  }

  async stop(): Promise<void> {
    await Promise.all(this.#workers.map((worker) => this.#remove(worker)));
    await Promise.allSettled([this.log.close(), this.queue.close()]);
    await this.system.stop();
    await this.store.stop();
  }

  async #addWorker(): Promise<void> {
    const { servers } = this.system;
    const ways = [servers.nats, servers.redis, this.store].map(({ url }) => startTcpProxy(url));
    const [nats, redis, store] = (await Promise.all(ways)) as [TcpProxy, TcpProxy, TcpProxy];
    const process = await this.system.addWorker({
      BATON_NATS_URL: nats.url,
      BATON_REDIS_URL: redis.url,
      BATON_SNAPSHOT_STORE: store.url,
      BATON_SNAPSHOT_CODEC: this.#tier,
      BATON_PREFILL_CHUNK: '8',
    });
    this.#workers.push({ id: process.id, process, nats, redis, store });
  }

  async #remove(worker: TargetWorker): Promise<void> {
    this.#workers = this.#workers.filter((other) => other !== worker);
    await worker.process.end('SIGTERM');
    await Promise.all([worker.nats.close(), worker.redis.close(), worker.store.close()]);
  }

  /** Every gateway hears every worker, and nobody is still busy with what was before. */
  async #untilAllRun(): Promise<void> {
    for (const url of this.urls) {
      while (!(await this.#hearsAll(url))) await sleep(25);
    }
  }

  async #hearsAll(url: string): Promise<boolean> {
    const answer = await fetch(`${url}/admin/workers`).catch(() => null);
    if (!answer?.ok) return false;
    const { data } = (await answer.json()) as {
      data: { id: string; state: string; silent_ms: number; generations: unknown[] }[];
    };
    return this.#workers.every(({ id }) =>
      data.some(
        (seen) =>
          seen.id === id && seen.state === 'running' && seen.silent_ms < 350 && seen.generations.length === 0,
      ),
    );
  }
}

/** A gateway whose connection to Redis or NATS was cut takes a while to have it again, and refuses requests until then. */
async function untilReady(url: string): Promise<void> {
  while (!(await fetch(`${url}/readyz`)).ok) await sleep(25);
}
