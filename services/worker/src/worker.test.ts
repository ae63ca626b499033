import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ScriptedEngine } from '@baton/engine/testing';
import { commandWorker, FleetWatch, Heartbeat, serveCommands } from '@baton/fleet';
import { TokenLog } from '@baton/log';
import { newId, queueName, redisPrefix, type WorkerStatus } from '@baton/protocol';
import { exampleJob } from '@baton/protocol/testing';
import { GenerationQueue } from '@baton/queue';
import { connectRedis, RedisHealth } from '@baton/redis';
import { openSnapshotStore } from '@baton/snapshot';
import { RecordedMetrics } from '@baton/telemetry/testing';
import { startTestRedis, startTestServers, type TestServers } from '@baton/testing';
import { Redis } from 'ioredis';
import { pino } from 'pino';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Worker } from './worker.ts';

const metrics = new RecordedMetrics();
const limits = { ttlSeconds: 60, quotaBytes: 1e9, totalBytes: 1e9 };

let servers: TestServers;
let folder: string;
let queue: GenerationQueue;
const workers: Worker[] = [];
beforeEach(async () => {
  servers = await startTestServers();
  folder = await mkdtemp(join(tmpdir(), 'baton-worker-'));
  queue = await GenerationQueue.open(servers.redis.url);
});
afterEach(async () => {
  await Promise.all(workers.splice(0).map((worker) => worker.stop()));
  await queue?.close();
  await servers?.stop();
  await rm(folder, { recursive: true });
});

async function startWorker(
  workerId: string,
  engine: ScriptedEngine,
  { storeUrl = `file://${folder}`, modelName = exampleJob().model, logger = pino({ level: 'silent' }) } = {},
): Promise<Worker> {
  const worker = await Worker.start(engine, {
    workerId,
    redisUrl: servers.redis.url,
    natsUrl: servers.nats.url,
    modelName,
    log: {},
    snapshots: {
      storeUrl,
      limits,
      tier: 'exact',
    },
    snapshotTokens: 64,
    warmBytes: 1e6,
    maxClaims: 3,
    drainMs: 2000,
    logger,
    stateBytes: () => 0,
    onDrained: () => {},
  });
  workers.push(worker);
  return worker;
}

/** An engine of eight slots whose memory has room for two sequences of full length, and for `fitting` of those it is given. */
function tightEngine(fitting: number): ScriptedEngine {
  const engine = new ScriptedEngine({ slots: fitting, stepMs: 20 });
  const { stateBytes } = engine.capacity;
  const capacity = { ...engine.capacity, slots: 8, stateBytesLimit: 2 * stateBytes.full };
  return Object.assign(engine, { capacity });
}

/** Gives their ids. */
async function addJobs(count: number): Promise<string[]> {
  const sampling = { max_tokens: 4000, ignore_eos: true };
  const jobs = Array.from({ length: count }, () => exampleJob({ id: newId('resp', 'default'), sampling }));
  await Promise.all(jobs.map((job) => queue.add(job)));
  return jobs.map(({ id }) => id);
}

describe('a worker with little memory for states', () => {
  it('leaves to others what it cannot begin with', async () => {
    const tight = await startWorker('tight', tightEngine(2));
    await addJobs(6);
    await expect.poll(() => tight.active).toBeGreaterThanOrEqual(2);
    const roomy = await startWorker('roomy', new ScriptedEngine({ stepMs: 20 }));
    // One waits there to learn whether it fits.
    await expect.poll(() => [tight.active, roomy.active]).toEqual([3, 3]);
  });

  it('runs as many as fit', async () => {
    const tight = await startWorker('tight', tightEngine(8));
    await addJobs(8);
    await expect.poll(() => tight.active).toBe(8);
  });
});

describe('a worker where a generation of another one stands by', () => {
  it('leaves its slot free of what waits in the queue', async () => {
    const leaving = await startWorker('leaving', new ScriptedEngine({ slots: 1, stepMs: 20 }));
    const [moved] = await addJobs(1);
    await expect.poll(() => leaving.active).toBe(1);
    const staying = await startWorker('staying', new ScriptedEngine({ slots: 2, stepMs: 20 }));
    const log = await TokenLog.open(servers.nats.url);
    const prepare = { v: 1, kind: 'prepare', generation: String(moved) } as const;
    expect(await commandWorker(log.connection, 'staying', prepare)).toMatchObject({ done: true });
    await addJobs(4);
    await expect.poll(() => staying.active).toBe(1);
    await leaving.stop();
    workers.splice(workers.indexOf(leaving), 1);
    await expect.poll(async () => (await log.read(String(moved)))?.owner).toBe('staying');
    expect(staying.active).toBe(2);
    await log.close();
  });
});

describe('a worker of another model', () => {
  let log: TokenLog;
  beforeEach(async () => {
    log = await TokenLog.open(servers.nats.url);
  });
  afterEach(() => log.close());

  const ownerOf = async (id: string) => (await log.read(id))?.owner;

  it('leaves a generation to a worker of its model, also where that comes later', async () => {
    await startWorker('other', new ScriptedEngine(), { modelName: 'another' });
    const [id = ''] = await addJobs(1);
    await expect.poll(() => log.read(id)).not.toBeNull();
    await startWorker('right', new ScriptedEngine({ stepMs: 20 }));
    await expect.poll(() => ownerOf(id), { timeout: 10_000 }).toBe('right');
    expect(await log.read(id)).toMatchObject({ epoch: 1, crashes: 0 });
  });

  it('ends a generation that was not begun in time', async () => {
    await startWorker('other', new ScriptedEngine(), { modelName: 'another' });
    const job = exampleJob({ id: newId('resp', 'default'), start_by: Date.now() - 1 });
    await queue.add(job);
    await expect
      .poll(async () => (await log.read(job.id))?.terminal)
      .toMatchObject({ kind: 'error', code: 'queue_timeout' });
  });

  it('goes on with another fingerprint only where nobody runs the one before, and says so', async () => {
    const former = await startWorker('former', new ScriptedEngine({ slots: 1, stepMs: 20 }));
    const [moved = ''] = await addJobs(1);
    await expect.poll(() => ownerOf(moved)).toBe('former');
    const alike = await startWorker('alike', new ScriptedEngine({ slots: 1, stepMs: 20 }));
    const [occupant = ''] = await addJobs(1);
    await expect.poll(() => ownerOf(occupant)).toBe('alike');
    const engine = new ScriptedEngine({ stepMs: 20 });
    const [before, after] = [engine.model.fingerprint, 'f'.repeat(64)];
    const lines: unknown[] = [];
    const logger = pino({ level: 'warn' }, { write: (line: string) => lines.push(JSON.parse(line)) });
    await startWorker('newer', Object.assign(engine, { model: { ...engine.model, fingerprint: after } }), {
      logger,
    });
    const stop = async (worker: Worker) => {
      await worker.stop();
      workers.splice(workers.indexOf(worker), 1);
    };
    await stop(former);
    const putBack = { generation: moved, reason: expect.stringContaining(before) };
    await expect.poll(() => lines).toContainEqual(expect.objectContaining(putBack));
    await log.requestCancel(occupant);
    await expect.poll(() => ownerOf(moved), { timeout: 10_000 }).toBe('alike');
    expect(await log.read(moved)).toMatchObject({ epoch: 2, crashes: 0 });
    await stop(alike);
    await expect.poll(() => ownerOf(moved), { timeout: 10_000 }).toBe('newer');
    const goesOn = { level: 40, generation: moved, epoch: 3, former: before, own: after };
    await expect.poll(() => lines).toContainEqual(expect.objectContaining(goesOn));
  });
});

describe('a worker that is started again under its name', () => {
  it('claims as another process', async () => {
    const log = await TokenLog.open(servers.nats.url);
    const [id = ''] = await addJobs(1);
    const processes: unknown[] = [];
    for (const epoch of [1, 2]) {
      const worker = await startWorker('same', new ScriptedEngine({ stepMs: 20 }));
      await expect.poll(async () => (await log.read(id))?.epoch).toBe(epoch);
      processes.push((await log.read(id))?.lastClaim?.process);
      await worker.stop();
      workers.splice(workers.indexOf(worker), 1);
    }
    expect(processes).toEqual([expect.any(String), expect.any(String)]);
    expect(processes[0]).not.toBe(processes[1]);
    await log.close();
  });
});

describe('a worker that keeps the state of a turn in memory', () => {
  it('goes on from it, and forgets it on command', async () => {
    const log = await TokenLog.open(servers.nats.url);
    const first = exampleJob({ id: newId('resp', 'default'), continuable: true });
    await queue.add(first);
    await startWorker('keeping', new ScriptedEngine());
    const ended = async (id: string) => {
      await expect.poll(async () => (await log.read(id))?.terminal?.kind).toBe('finish');
      return log.read(id);
    };
    const tokens = [...first.prompt, ...((await ended(first.id))?.tokens ?? [])];
    const cachedNext = async () => {
      // So that there is none but that in memory.
      const store = await openSnapshotStore(`file://${folder}`, limits);
      await store.delete(first.tenant, first.id);
      await store.close();
      const parent = { id: first.id, tokens: tokens.length };
      const next = exampleJob({ id: newId('resp', 'default'), prompt: [...tokens, 65, 66], parent });
      await queue.add(next);
      return (await ended(next.id))?.cachedTokens;
    };
    expect(await cachedNext()).toBeGreaterThan(0);
    const command = { v: 1, kind: 'forget', tenant: first.tenant, generation: first.id } as const;
    expect(await commandWorker(log.connection, 'keeping', command)).toMatchObject({ done: true });
    expect(await cachedNext()).toBe(0);
    await log.close();
  });
});

describe('what a worker logs of a generation that changes hands', () => {
  let log: TokenLog;
  beforeEach(async () => {
    log = await TokenLog.open(servers.nats.url);
  });
  afterEach(() => log.close());

  function newLogger() {
    const lines: unknown[] = [];
    const logger = pino({ level: 'info' }, { write: (line: string) => lines.push(JSON.parse(line)) });
    const logged = (line: object) =>
      expect.poll(() => lines).toContainEqual(expect.objectContaining({ level: 30, ...line }));
    return { logger, logged };
  }

  /** A worker that runs one generation, and what stops it. */
  async function leaving() {
    const { logger, logged } = newLogger();
    const worker = await startWorker('leaving', new ScriptedEngine({ stepMs: 20 }), { logger });
    const [generation = ''] = await addJobs(1);
    await expect.poll(async () => (await log.read(generation))?.owner).toBe('leaving');
    const leave = async () => {
      workers.splice(workers.indexOf(worker), 1);
      await worker.stop();
    };
    return { generation, leave, logged };
  }

  async function heard(name: string): Promise<void> {
    const fleet = new FleetWatch(log.connection);
    await expect.poll(() => fleet.running.map(({ worker }) => worker)).toContain(name);
    fleet.close();
  }

  it('says where it goes, and from whom and why it comes', async () => {
    const { generation, leave, logged } = await leaving();
    const staying = newLogger();
    await startWorker('staying', new ScriptedEngine({ stepMs: 20 }), { logger: staying.logger });
    await heard('staying');
    await leave();
    await logged({ msg: 'released', generation, target: 'staying', reason: 'handed over' });
    await staying.logged({ msg: 'taken over', generation, cause: 'migration', former: 'leaving' });
  });

  it('says that it was lost', async () => {
    const { logger, logged } = newLogger();
    const job = exampleJob({ id: newId('resp', 'default') });
    await log.claim(job, 'lost');
    await startWorker('next', new ScriptedEngine(), { logger });
    await queue.add(job);
    await logged({ msg: 'taken over', generation: job.id, cause: 'failover', former: 'lost' });
  });

  it('says that nobody has room', async () => {
    const { generation, leave, logged } = await leaving();
    await leave();
    await logged({ msg: 'released', generation, reason: 'back to the queue: no other worker has room' });
  });

  it('says that it was refused', async () => {
    const { generation, leave, logged } = await leaving();
    const heartbeat = await Heartbeat.start(servers.nats.url);
    const status: WorkerStatus = {
      v: 1,
      worker: 'refusing',
      pid: process.pid,
      host: 'here',
      state: 'running',
      device: 'cpu',
      model: exampleJob().model,
      fingerprint: new ScriptedEngine().model.fingerprint,
      slots: 1,
      generations: [],
    };
    const stopCommands = serveCommands(log.connection, 'refusing', ({ kind }) => ({
      done: kind === 'prepare',
      reason: 'no, thank you',
    }));
    heartbeat.say(status);
    await heard('refusing');
    await leave();
    const reason = 'back to the queue: the offer was refused: no, thank you';
    await logged({ msg: 'released', generation, target: 'refusing', reason });
    stopCommands();
    await heartbeat.stop({ ...status, state: 'stopped' });
  });
});

describe('a generation that stands by, and whose job goes back to the queue', () => {
  let log: TokenLog;
  beforeEach(async () => {
    log = await TokenLog.open(servers.nats.url);
  });
  afterEach(() => log.close());

  /** A generation whose owner is this test, and that stands by at a worker with one slot. */
  async function standingBy() {
    const staying = await startWorker('staying', new ScriptedEngine({ slots: 1, stepMs: 20 }));
    const sampling = { max_tokens: 4000, ignore_eos: true };
    const job = exampleJob({ id: newId('resp', 'default'), sampling });
    const { writer } = await log.claim(job, 'former');
    await writer?.append({ kind: 'tokens', tokens: [1], text: 'a' });
    const prepare = { v: 1, kind: 'prepare', generation: job.id } as const;
    expect(await commandWorker(log.connection, 'staying', prepare)).toMatchObject({ done: true });
    const release = async () => {
      await writer?.append({ kind: 'released' });
    };
    const refuseToAdopt = async () => {
      const adopt = { v: 1, kind: 'adopt', generation: job.id, lock_token: 'of nobody' } as const;
      expect(await commandWorker(log.connection, 'staying', adopt)).toMatchObject({ done: false });
    };
    return { staying, job, release, refuseToAdopt };
  }

  it('is released again where it runs already', async () => {
    const { staying, job, release, refuseToAdopt } = await standingBy();
    await release();
    await expect.poll(async () => (await log.read(job.id))?.owner).toBe('staying');
    await refuseToAdopt();
    await expect.poll(async () => (await log.read(job.id))?.owner).toBeNull();
    await expect.poll(() => staying.active).toBe(0);
    // Then it comes by the queue.
    await queue.add(job);
    await expect.poll(async () => (await log.read(job.id))?.owner).toBe('staying');
  });

  it('is not claimed where it does not run yet, and leaves its slot', async () => {
    const { job, release, refuseToAdopt } = await standingBy();
    await refuseToAdopt();
    const [other] = await addJobs(1);
    await expect.poll(async () => (await log.read(String(other)))?.owner).toBe('staying');
    await release();
    expect((await log.read(job.id))?.owner).toBeNull();
  });
});

describe('a worker that cannot read a job', () => {
  it('fails its generation, and leaves no state of what owners of before had stored', async () => {
    const [log, store] = [
      await TokenLog.open(servers.nats.url),
      await openSnapshotStore(`file://${folder}`, limits),
    ];
    const job = exampleJob({ id: newId('resp', 'default') });
    await log.appendQueued(job);
    await store.putManifest(job.tenant, job.id, { bytes: new Uint8Array(8), pages: [] }, null);
    await queue.add(job);
    const redis = new Redis(servers.redis.url);
    await redis.hset(
      `${redisPrefix}:${queueName}:${job.id}`,
      'data',
      JSON.stringify({ ...job, colour: 'red' }),
    );
    redis.disconnect();
    await startWorker('older', new ScriptedEngine());
    await expect.poll(async () => (await log.read(job.id))?.terminal?.kind).toBe('error');
    await expect.poll(() => store.getManifest(job.tenant, job.id)).toBeNull();
    await Promise.all([log.close(), store.close()]);
  });
});

describe('a worker whose snapshot store is away', () => {
  it('begins without it, and stores states once it is there', async () => {
    const store = await startTestRedis();
    await store.kill('SIGKILL');
    const worker = await startWorker('alone', new ScriptedEngine({ stepMs: 20 }), { storeUrl: store.url });
    await addJobs(1);
    await expect.poll(() => worker.active).toBe(1);
    await store.restart();
    const snapshots = await openSnapshotStore(store.url, limits);
    await expect.poll(async () => (await snapshots.usage('default')).sessions).toBe(1);
    await snapshots.close();
    await workers.pop()?.stop();
    await store.stop();
  });
});

describe('a job that cannot be read', () => {
  it('ends its generation, which is counted', async () => {
    const job = exampleJob({ id: newId('resp', 'default') });
    const log = await TokenLog.open(servers.nats.url);
    await log.appendQueued(job);
    await queue.add(job);
    const { url } = servers.redis;
    const redis = await connectRedis(url, new RedisHealth(url, () => {}), {});
    await redis.hset(`${redisPrefix}:${queueName}:${job.id}`, 'data', '{}');
    redis.disconnect();
    await startWorker('reader', new ScriptedEngine());
    const subscription = await log.subscribe(job.id);
    for await (const _ of subscription.entries());
    expect(subscription.state.terminal).toMatchObject({ kind: 'error', code: 'invalid_message' });
    const counted = () => metrics.counted('baton.generations');
    await expect.poll(counted, { timeout: 10_000 }).toMatchObject({ invalid_message: 1 });
    await log.close();
  });
});
