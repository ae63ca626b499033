import { randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Engine, EngineRequest } from '@baton/engine';
import { ScriptedEngine } from '@baton/engine/testing';
import { TokenLog } from '@baton/log';
import { type GenerationJob, type LogState, newId } from '@baton/protocol';
import { exampleJob } from '@baton/protocol/testing';
import type { SnapshotStore } from '@baton/snapshot';
import { DiskStore } from '@baton/snapshot/disk-store';
import { Snapshots } from '@baton/snapshot/snapshots';
import { startTestNats, type TestServer } from '@baton/testing';
import { runGeneration } from './run-generation.ts';
import { SessionStates, type SessionStatesOptions } from './states/session-states.ts';

/** How often a worker stores a state, who hears of it, and where to. */
type StatesOptions = Partial<Pick<SessionStatesOptions, 'every' | 'onSave' | 'snapshots'>>;

/** The signal of what nothing stops. */
export const never = new AbortController().signal;

export const newJob = (sampling: Partial<GenerationJob['sampling']> = {}) =>
  exampleJob({ id: newId('resp', 'default'), sampling: { max_tokens: 500, ...sampling } });

/** Runs generations over a real NATS, as workers whose snapshots are in one store. */
export class TestBench {
  readonly log: TokenLog;
  /** Of the store that all workers of a test share. */
  readonly folder: string;
  readonly #nats: TestServer;

  private constructor(nats: TestServer, log: TokenLog, folder: string) {
    this.#nats = nats;
    this.log = log;
    this.folder = folder;
  }

  static async start(): Promise<TestBench> {
    const nats = await startTestNats();
    const log = await TokenLog.open(nats.url);
    return new TestBench(nats, log, await mkdtemp(join(tmpdir(), 'baton-worker-')));
  }

  async stop(): Promise<void> {
    await this.log.close();
    await this.#nats.stop();
    // Stores may still be writing.
    await rm(this.folder, { recursive: true, maxRetries: 10 });
  }

  newStore(): DiskStore {
    return new DiskStore(this.folder, { ttlSeconds: 60, quotaBytes: 1e9, totalBytes: 1e9 });
  }

  async isStored({ tenant, id }: GenerationJob): Promise<boolean> {
    return (await this.newStore().getManifest(tenant, id)) !== null;
  }

  snapshotsOf({ layout, model }: Engine, store: SnapshotStore = this.newStore()): Snapshots {
    return new Snapshots({ store, tier: 'exact', layout, model });
  }

  /** The states of a worker that begins. */
  statesOf(
    engine: Engine,
    { every = 64, onSave, snapshots = this.snapshotsOf(engine) }: StatesOptions = {},
  ): SessionStates {
    const { layout, model } = engine;
    const options = { snapshots, layout, fingerprint: model.fingerprint, every, warmBytes: 1e6 };
    return new SessionStates({ ...options, ...(onSave && { onSave }) });
  }

  run(
    job: GenerationJob,
    engine: Engine,
    {
      signal = never,
      workerId = 'worker-1',
      process = randomUUID() as string,
      states = this.statesOf(engine),
    } = {},
  ): Promise<boolean> {
    return runGeneration(job, signal, { log: this.log, engine, states, workerId, process, maxClaims: 3 });
  }

  async stateOf({ id }: GenerationJob): Promise<LogState> {
    const state = await this.log.read(id);
    if (state === null) throw new Error(`${id} has no log`);
    return state;
  }

  /** Resolves when the log holds at least `count` output tokens. */
  async tokensLogged({ id }: GenerationJob, count: number): Promise<void> {
    const feed = await this.log.subscribe(id);
    for await (const _ of feed.entries()) if (feed.state.tokens.length >= count) return;
  }

  /** The undisturbed run every other one is compared with. */
  async undisturbed(): Promise<LogState> {
    const job = newJob();
    await this.run(job, new ScriptedEngine());
    return this.stateOf(job);
  }
}

/** `engine`, and the requests that it was asked to run. */
export function watched(engine: Engine): { engine: Engine; requests: EngineRequest[] } {
  const requests: EngineRequest[] = [];
  const generate: Engine['generate'] = (request, ...signals) => {
    requests.push(request);
    return engine.generate(request, ...signals);
  };
  return {
    requests,
    engine: {
      ...engine,
      model: engine.model,
      device: engine.device,
      layout: engine.layout,
      capacity: engine.capacity,
      died: engine.died,
      generate,
      close: () => engine.close(),
    },
  };
}
