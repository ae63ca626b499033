import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Engine, type EngineRequest, tokensOf } from '@baton/engine';
import { ScriptedEngine } from '@baton/engine/testing';
import { EngineDiedError, FencedError, QueueTimeoutError, ServerError } from '@baton/errors';
import { TokenLog } from '@baton/log';
import { type GenerationJob, type LogState, newId } from '@baton/protocol';
import { exampleJob } from '@baton/protocol/testing';
import { HandedOver } from '@baton/queue';
import type { SaveResult, SnapshotService, SnapshotStore } from '@baton/snapshot';
import { DiskStore } from '@baton/snapshot/disk-store';
import { Snapshots } from '@baton/snapshot/snapshots';
import { startTestNats, type TestServer } from '@baton/testing';
import { afterAll, beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest';
import { runGeneration } from './run-generation.ts';
import { Standby } from './standby.ts';
import {
  type Restored,
  SessionStates,
  type SessionStatesOptions,
  type StateTracker,
} from './states/session-states.ts';

const isPrefix = (session: string) => session.startsWith('prefix-');

describe('runGeneration', () => {
  let nats: TestServer;
  let log: TokenLog;
  let folder: string;
  beforeAll(async () => {
    nats = await startTestNats();
    log = await TokenLog.open(nats.url);
    folder = await mkdtemp(join(tmpdir(), 'baton-worker-'));
  });
  afterAll(async () => {
    await log?.close();
    await nats?.stop();
    // Stores may still be writing.
    await rm(folder, { recursive: true, maxRetries: 10 });
  });

  const never = new AbortController().signal;
  const newJob = (sampling: Partial<GenerationJob['sampling']> = {}) =>
    exampleJob({ id: newId('resp', 'default'), sampling: { max_tokens: 500, ...sampling } });
  /** A worker's states, over a store that all workers of a test share. */
  const newStore = () => new DiskStore(folder, { ttlSeconds: 60, quotaBytes: 1e9, totalBytes: 1e9 });
  const isStored = async ({ tenant, id }: GenerationJob) =>
    (await newStore().getManifest(tenant, id)) !== null;
  const statesOf = (
    engine: Engine,
    every = 64,
    onSave?: SessionStatesOptions['onSave'],
    snapshots: SnapshotService = snapshotsOf(engine),
  ) => {
    const { layout, model } = engine;
    const options = { snapshots, layout, fingerprint: model.fingerprint, every, warmBytes: 1e6 };
    return new SessionStates({ ...options, ...(onSave && { onSave }) });
  };
  const snapshotsOf = ({ layout, model }: Engine, store: SnapshotStore = newStore()) =>
    new Snapshots({ store, tier: 'exact', layout, model });
  const run = (
    job: GenerationJob,
    engine: Engine,
    { signal = never, workerId = 'worker-1', states = statesOf(engine) } = {},
  ) => runGeneration(job, signal, { log, engine, states, workerId, maxClaims: 3 });

  async function stateOf({ id }: GenerationJob): Promise<LogState> {
    const state = await log.read(id);
    if (state === null) throw new Error(`${id} has no log`);
    return state;
  }

  /** Resolves when the log holds at least `count` output tokens. */
  async function tokensLogged({ id }: GenerationJob, count: number): Promise<void> {
    const feed = await log.subscribe(id);
    for await (const _ of feed.entries()) if (feed.state.tokens.length >= count) return;
  }

  /** The undisturbed run every other one is compared with. */
  async function undisturbed(): Promise<LogState> {
    const job = newJob();
    await run(job, new ScriptedEngine());
    return stateOf(job);
  }

  it('writes a generation from its claim to its end', async () => {
    const { epoch, tokens, text, terminal } = await undisturbed();
    expect(epoch).toBe(1);
    expect(text.split(' ')).toHaveLength(20);
    expect(terminal).toMatchObject({
      kind: 'finish',
      reason: 'stop',
      usage: { prompt_tokens: 3, cached_tokens: 0, completion_tokens: tokens.length },
    });
  });

  it('does not begin what nobody waits for any more, and goes on with what was begun in time', async () => {
    const late = { ...newJob(), start_by: Date.now() - 1 };
    await expect(run(late, new ScriptedEngine())).rejects.toThrow(QueueTimeoutError);
    expect(await stateOf(late)).toMatchObject({
      tokens: [],
      terminal: { kind: 'error', code: 'queue_timeout' },
    });

    const begun = { ...newJob(), start_by: Date.now() - 1 };
    await log.claim(begun, 'worker-0');
    await run(begun, new ScriptedEngine());
    expect((await stateOf(begun)).terminal).toMatchObject({ kind: 'finish' });
  });

  it('leaves a generation alone that has ended', async () => {
    const job = newJob();
    await run(job, new ScriptedEngine());
    const before = await stateOf(job);
    await run(job, new ScriptedEngine());
    expect(await stateOf(job)).toEqual(before);
  });

  it('ends a failed generation with its error, and tells the queue', async () => {
    const job = newJob();
    const engine = new ScriptedEngine({ failure: (position) => (position === 4 ? 'throw' : undefined) });
    await expect(run(job, engine)).rejects.toThrow(ServerError);
    const { tokens, terminal } = await stateOf(job);
    expect(tokens).toHaveLength(4);
    expect(terminal).toMatchObject({ kind: 'error', code: 'server_error' });
  });

  it('leaves the end open when the engine dies, and another worker goes on with the same text', async () => {
    const job = newJob();
    const dying = new ScriptedEngine({ stepMs: 5 });
    const died = expect(run(job, dying)).rejects.toThrow(EngineDiedError);
    await tokensLogged(job, 3);
    await dying.close();
    await died;
    expect((await stateOf(job)).terminal).toBeNull();

    await run(job, new ScriptedEngine(), { workerId: 'worker-2' });
    const { epoch, tokens, text } = await stateOf(job);
    const expected = await undisturbed();
    expect({ epoch, tokens, text }).toEqual({ epoch: 2, tokens: expected.tokens, text: expected.text });
  });

  it('hands a generation on when it is told to stop, at a token boundary', async () => {
    const job = newJob();
    const drain = new AbortController();
    const stopped = run(job, new ScriptedEngine({ stepMs: 5 }), { signal: drain.signal });
    await tokensLogged(job, 3);
    const reason = new Error('draining');
    drain.abort(reason);
    await expect(stopped).rejects.toBe(reason);
    expect((await stateOf(job)).terminal).toBeNull();

    await run(job, new ScriptedEngine());
    const [{ tokens, text, terminal }, expected] = [await stateOf(job), await undisturbed()];
    expect({ tokens, text, usage: terminal?.kind === 'finish' && terminal.usage }).toEqual({
      tokens: expected.tokens,
      text: expected.text,
      usage: { prompt_tokens: 3, cached_tokens: 0, completion_tokens: expected.tokens.length },
    });
  });

  it('stops at a cancel, also one that came before it', async () => {
    const job = newJob();
    const running = run(job, new ScriptedEngine({ stepMs: 5 }));
    await tokensLogged(job, 2);
    await log.requestCancel(job.id);
    await running;
    const cancelled = await stateOf(job);
    expect(cancelled.terminal).toMatchObject({ kind: 'finish', reason: 'cancelled' });
    expect(cancelled.tokens.length).toBeLessThan((await undisturbed()).tokens.length);

    const queued = newJob();
    await log.appendQueued(queued);
    await log.requestCancel(queued.id);
    await run(queued, new ScriptedEngine());
    expect(await stateOf(queued)).toMatchObject({ tokens: [], terminal: { reason: 'cancelled' } });
  });

  it('adds nothing once another worker has claimed', async () => {
    const job = newJob();
    const former = expect(run(job, new ScriptedEngine({ stepMs: 5 }))).rejects.toThrow(FencedError);
    await tokensLogged(job, 2);
    await log.claim(job, 'worker-2');
    const taken = await stateOf(job);
    await former;
    expect(await stateOf(job)).toEqual(taken);
  });

  /** An engine whose only slot is taken until the test has ended: whatever else it is to run waits. */
  async function occupied(): Promise<Engine> {
    const engine = new ScriptedEngine({ slots: 1, stepMs: 1, contextLength: 1e6 });
    const { id, tenant, prompt, sampling } = exampleJob({ sampling: { max_tokens: 9e5, ignore_eos: true } });
    const request = { id, tenant, prompt, sampling, replay: [], replayTextLength: 0, promptLogprobsFrom: 0 };
    const occupant = engine.generate(request, never);
    await occupant.next();
    onTestFinished(async () => void (await occupant.return()));
    return engine;
  }

  it('stops at a cancel, and once another worker has claimed, before its first token', async () => {
    const engine = await occupied();
    const cancelled = newJob();
    const running = run(cancelled, engine);
    await expect.poll(async () => (await log.read(cancelled.id))?.epoch).toBe(1);
    await log.requestCancel(cancelled.id);
    await running;
    expect(await stateOf(cancelled)).toMatchObject({ tokens: [], terminal: { reason: 'cancelled' } });

    const taken = newJob();
    const former = expect(run(taken, engine)).rejects.toThrow(FencedError);
    await expect.poll(async () => (await log.read(taken.id))?.epoch).toBe(1);
    await log.claim(taken, 'worker-2');
    await former;
  });

  /** The requests that an engine was asked to run. */
  function watched(engine: Engine): { engine: Engine; requests: EngineRequest[] } {
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

  it('goes on from the newest snapshot where another worker died, and replays only what came after it', async () => {
    const job = newJob();
    const dying = new ScriptedEngine({ stepMs: 10 });
    const saved: number[] = [];
    const states = statesOf(dying, 8, (_, result) => {
      if (result.kind === 'saved') saved.push(result.tokens);
    });
    const died = expect(run(job, dying, { states })).rejects.toThrow(EngineDiedError);
    await expect.poll(() => saved.length).toBeGreaterThan(1);
    await dying.close();
    await died;
    const newest = saved.at(-1);
    const { engine, requests } = watched(new ScriptedEngine());
    await run(job, engine, { workerId: 'worker-2' });
    const remembered = tokensOf(requests[0]?.resume ?? []);
    expect(saved).toContain(remembered);
    expect(remembered).toBeGreaterThanOrEqual(newest ?? 0);
    expect((await stateOf(job)).tokens).toEqual((await undisturbed()).tokens);
  });

  /** Runs a job to its end while no page can be stored; gives what lets them be, and resolves with the last save then. */
  async function withLateSave(job: GenerationJob): Promise<{ store: () => Promise<SaveResult> }> {
    const [open, saved] = [Promise.withResolvers<void>(), Promise.withResolvers<SaveResult>()];
    const store = newStore();
    const putPages = store.putPages.bind(store);
    store.putPages = async (...args) => {
      await open.promise;
      await putPages(...args);
    };
    const engine = new ScriptedEngine();
    const states = statesOf(engine, 8, (_, result) => saved.resolve(result), snapshotsOf(engine, store));
    await run(job, engine, { states });
    // Longer than the end waits for the store.
    await sleep(700);
    return {
      store: () => {
        open.resolve();
        return saved.promise;
      },
    };
  }

  it('leaves no state of what nobody may continue, also where the store has it late', async () => {
    const job = { ...newJob(), continuable: false };
    const { store } = await withLateSave(job);
    expect(await store()).toMatchObject({ kind: 'saved' });
    await expect.poll(() => isStored(job)).toBe(false);
  });

  it('does not store at its end what nobody may continue', async () => {
    const engine = new ScriptedEngine();
    const snapshots = snapshotsOf(engine);
    const save = vi.spyOn(snapshots, 'save');
    const states = statesOf(engine, 1e6, undefined, snapshots);
    await run({ ...newJob(), continuable: false }, engine, { states });
    expect(save).not.toHaveBeenCalled();
    await run(newJob(), engine, { states });
    expect(save).toHaveBeenCalledOnce();
  });

  it('leaves no state of what was deleted before the store had it', async () => {
    const job = newJob();
    const { store } = await withLateSave(job);
    await log.delete(job.id);
    expect(await store()).toMatchObject({ kind: 'saved' });
    await expect.poll(() => isStored(job)).toBe(false);
  });

  it('takes the state of a generation that has failed out of the store, whoever has stored it', async () => {
    const failed = newJob();
    const failing = new ScriptedEngine({
      stepMs: 5,
      failure: (position) => (position === 40 ? 'throw' : undefined),
    });
    const saves: SaveResult[] = [];
    const states = statesOf(failing, 8, (_, result) => saves.push(result));
    await expect(run(failed, failing, { states })).rejects.toThrow(ServerError);
    expect(saves.length).toBeGreaterThan(0);
    await expect.poll(() => isStored(failed)).toBe(false);

    const lost = newJob({ ignore_eos: true });
    const dying = new ScriptedEngine({ stepMs: 10 });
    const died = expect(run(lost, dying, { states: statesOf(dying, 8) })).rejects.toThrow(EngineDiedError);
    await expect.poll(() => isStored(lost)).toBe(true);
    await dying.close();
    await died;
    for (let claims = 1; claims < 3; claims++) await log.claim(lost, `worker-${claims}`);
    await expect(run(lost, new ScriptedEngine())).rejects.toThrow('3 workers were lost');
    await expect.poll(() => isStored(lost)).toBe(false);
  });

  it('lets go of a state that another worker has taken over, which stays', async () => {
    const job = newJob({ ignore_eos: true });
    const engine = new ScriptedEngine({ stepMs: 10 });
    const snapshots = snapshotsOf(engine);
    const release = vi.spyOn(snapshots, 'release');
    const states = statesOf(engine, 8, undefined, snapshots);
    const former = expect(run(job, engine, { states })).rejects.toThrow(FencedError);
    await expect.poll(() => isStored(job)).toBe(true);
    await log.claim(job, 'worker-2');
    await former;
    await expect.poll(() => release.mock.calls).toEqual([[{ tenant: job.tenant, session: job.id }]]);
    expect(await isStored(job)).toBe(true);
  });

  it('hands its very last token on when it is drained', async () => {
    const job = newJob();
    const drain = new AbortController();
    const stopped = run(job, new ScriptedEngine({ stepMs: 2 }), { signal: drain.signal });
    await tokensLogged(job, 20);
    drain.abort(new Error('draining'));
    await expect(stopped).rejects.toThrow('draining');
    const { engine, requests } = watched(new ScriptedEngine());
    await run(job, engine, { workerId: 'worker-2' });
    const logged = requests[0]?.replay.length ?? 0;
    expect(tokensOf(requests[0]?.resume ?? [])).toBe(job.prompt.length + logged - 1);
    expect((await stateOf(job)).tokens).toEqual((await undisturbed()).tokens);
  });

  /** One worker runs a generation while another stands by for it. */
  async function standingBy() {
    const job = newJob();
    const former = new ScriptedEngine({ stepMs: 10 });
    const offer = new AbortController();
    const stopped = run(job, former, { signal: offer.signal, states: statesOf(former, 8) });
    stopped.catch(() => {});
    await tokensLogged(job, 20);
    const engine = new ScriptedEngine();
    const saves: SaveResult[] = [];
    const states = statesOf(engine, 8, (_, result) => saves.push(result));
    const standby = await Standby.start(job.id, { log, engine, states });
    if (!standby) throw new Error('nothing stands by');
    const context = { log, engine, states, workerId: 'worker-2', maxClaims: 3 };
    return { job, former, stopped, offer, standby, context, saves };
  }

  it('goes on where a former owner stops that it stood by for, fed before with all that this one says', async () => {
    const { job, stopped, offer, standby, context, saves } = await standingBy();
    await standby.caughtUp;
    await tokensLogged(job, standby.log.state.tokens.length + 10);
    offer.abort(new HandedOver(async () => true));
    await expect(stopped).rejects.toThrow(HandedOver);
    expect(await standby.released).toBe(true);
    expect(await stateOf(job)).toMatchObject({ owner: null, releases: 1 });
    const begun: Restored[] = [];
    const onRestored = (_: LogState, restored: Restored) => void begun.push(restored);
    await runGeneration(job, never, { ...context, onRestored }, standby);
    expect(begun).toMatchObject([{ source: 'snapshot', of: 'generation' }]);
    const [{ epoch, tokens, text }, expected] = [await stateOf(job), await undisturbed()];
    expect({ epoch, tokens, text }).toEqual({ epoch: 2, tokens: expected.tokens, text: expected.text });
    // Also the first, although the former owner has stored since the next one restored.
    expect(new Set(saves.map(({ kind }) => kind))).toEqual(new Set(['saved']));
  });

  it('tells how far it is and how much of that is stored, also where another owner has stored it', async () => {
    const sampling = { max_tokens: 1000, ignore_eos: true };
    const job = exampleJob({ id: newId('resp', 'default'), sampling });
    const begun: { tracker: StateTracker; stored: number }[] = [];
    const restores: Restored[] = [];
    const own = (engine: Engine, signal: AbortSignal) =>
      runGeneration(job, signal, {
        ...{ log, engine, states: statesOf(engine, 8), workerId: 'worker', maxClaims: 3 },
        onRestored: (_, restored) => void restores.push(restored),
        onProgress: (tracker) => void begun.push({ tracker, stored: tracker.stored }),
      });
    const drain = new AbortController();
    const first = expect(own(new ScriptedEngine({ stepMs: 20 }), drain.signal)).rejects.toThrow('drained');
    await expect.poll(() => begun[0]?.tracker.stored).toBeGreaterThan(0);
    drain.abort(new Error('drained'));
    await first;
    const handedOver = job.prompt.length + (await stateOf(job)).tokens.length;
    await own(new ScriptedEngine(), never);
    expect(begun.map(({ tracker }) => tracker.tokens)).toEqual([handedOver, job.prompt.length + 1000]);
    expect(restores[1]?.tokens).toBeGreaterThan(0);
    expect(begun.map(({ stored }) => stored)).toEqual([0, restores[1]?.tokens]);
  });

  it('stands by with a state that its owner has stored since the log was read', async () => {
    const job = newJob();
    const former = new ScriptedEngine({ stepMs: 5 });
    let stored = 0;
    const onSave = (_: string, result: SaveResult) => {
      if (result.kind === 'saved') stored = result.tokens;
    };
    const offer = new AbortController();
    const stopped = run(job, former, { signal: offer.signal, states: statesOf(former, 8, onSave) });
    stopped.catch(() => {});
    await tokensLogged(job, 4);
    const engine = new ScriptedEngine();
    const states = statesOf(engine, 8);
    const restores: Promise<Restored>[] = [];
    const late: Pick<SessionStates, 'restore' | 'track'> = {
      track: (...given) => states.track(...given),
      restore: async (next, state, readOn) => {
        const read = job.prompt.length + state.tokens.length;
        await expect.poll(() => stored, { interval: 1 }).toBeGreaterThan(read);
        const restoring = states.restore(next, { ...state, tokens: [...state.tokens] }, readOn);
        restores.push(restoring);
        return restoring;
      },
    };
    const standby = await Standby.start(job.id, { log, engine, states: late });
    expect(await Promise.all(restores)).toMatchObject([{ source: 'snapshot', of: 'generation' }]);
    await standby?.caughtUp;
    offer.abort(new HandedOver(async () => true));
    await expect(stopped).rejects.toThrow(HandedOver);
    expect(await standby?.released).toBe(true);
    const context = { log, engine, states, workerId: 'worker-2', maxClaims: 3 };
    await runGeneration(job, never, context, standby);
    expect((await stateOf(job)).tokens).toEqual((await undisturbed()).tokens);
  });

  it('goes on at once where its job comes and the owner that it stood by for is lost', async () => {
    const { job, former, stopped, standby, context } = await standingBy();
    await former.close();
    await expect(stopped).rejects.toThrow(EngineDiedError);
    standby.take();
    expect(await standby.released).toBe(true);
    await runGeneration(job, never, context, standby);
    const [{ epoch, tokens }, expected] = [await stateOf(job), await undisturbed()];
    expect({ epoch, tokens }).toEqual({ epoch: 2, tokens: expected.tokens });
  });

  it('does not come where the owner goes on to the end, or another one claims first', async () => {
    const ended = await standingBy();
    await ended.stopped;
    expect(await ended.standby.released).toBe(false);
    await ended.standby.close();
    expect((await stateOf(ended.job)).epoch).toBe(1);

    const taken = await standingBy();
    await log.claim(taken.job, 'worker-3');
    await expect(taken.stopped).rejects.toThrow(FencedError);
    expect(await taken.standby.released).toBe(false);
    await taken.standby.close();
    expect((await stateOf(taken.job)).owner).toBe('worker-3');
  });

  it('has nothing to stand by for where a generation has ended, or its prompt is to be scored', async () => {
    const job = newJob();
    const engine = new ScriptedEngine();
    const context = { log, engine, states: statesOf(engine) };
    await run(job, engine);
    expect(await Standby.start(job.id, context)).toBeNull();
    const scored = exampleJob({ id: newId('resp', 'default'), sampling: { prompt_logprobs: 1 } });
    await log.appendQueued(scored);
    expect(await Standby.start(scored.id, context)).toBeNull();
  });

  it('goes on from the turn before: in memory, from its snapshot in two branches, or by computing again', async () => {
    const first = newJob();
    const worker = new ScriptedEngine();
    const states = statesOf(worker);
    await run(first, worker, { states });
    const { tokens } = await stateOf(first);
    const prompt = [...first.prompt, ...tokens, 7, 8, 9];
    const parent = { id: first.id, tokens: prompt.length - 3 };
    const follow = async (on: SessionStates, overrides: Partial<GenerationJob> = {}) => {
      const job = exampleJob({
        id: newId('resp', 'default'),
        prompt,
        parent,
        sampling: { max_tokens: 30 },
        ...overrides,
      });
      const { engine, requests } = watched(new ScriptedEngine());
      await run(job, engine, { states: on });
      const { terminal, tokens: said } = await stateOf(job);
      if (terminal?.kind !== 'finish') throw new Error('not finished');
      return { resumed: tokensOf(requests[0]?.resume ?? []), cached: terminal.usage.cached_tokens, said };
    };
    const warm = await follow(states);
    const stored = await follow(statesOf(worker));
    const again = await follow(statesOf(worker));
    const anew = await follow(statesOf(worker), { parent: null });
    // The last token of the first turn was sampled and never fed.
    expect([warm, stored, again].map(({ resumed }) => resumed)).toEqual(Array(3).fill(parent.tokens - 1));
    expect([warm, stored, again, anew].map(({ cached }) => cached)).toEqual([
      ...Array(3).fill(parent.tokens - 1),
      0,
    ]);
    for (const { said } of [stored, again, anew]) expect(said).toEqual(warm.said);
  });

  it('counts as cached what its first owner found computed, also where others end it', async () => {
    const first = newJob();
    const worker = new ScriptedEngine();
    await run(first, worker);
    const { tokens } = await stateOf(first);
    const parent = { id: first.id, tokens: first.prompt.length + tokens.length };
    const next = { ...newJob({ ignore_eos: true }), parent, prompt: [...first.prompt, ...tokens, 7, 8, 9] };

    const drain = new AbortController();
    const drained = run(next, new ScriptedEngine({ stepMs: 10 }), { signal: drain.signal });
    await tokensLogged(next, 3);
    drain.abort(new Error('draining'));
    await expect(drained).rejects.toThrow('draining');
    const dying = new ScriptedEngine({ stepMs: 10 });
    const died = expect(run(next, dying)).rejects.toThrow(EngineDiedError);
    await tokensLogged(next, 6);
    await dying.close();
    await died;
    await run(next, new ScriptedEngine());
    expect(await stateOf(next)).toMatchObject({
      epoch: 3,
      terminal: { kind: 'finish', usage: { cached_tokens: parent.tokens - 1 } },
    });
  });

  it('computes the beginning that prompts of a tenant share once: goes on from it in memory, and from its snapshot', async () => {
    const beginning = Array.from({ length: 100 }, (_, i) => 3 + ((i * 31) % 250));
    const worker = new ScriptedEngine();
    const states = statesOf(worker);
    const ask = async (on: SessionStates, question: number[], overrides: Partial<GenerationJob> = {}) => {
      const job = exampleJob({
        id: newId('chatcmpl', overrides.tenant ?? 'default'),
        prompt: [...beginning, ...question],
        shared_prefix: beginning.length,
        continuable: false,
        sampling: { max_tokens: 20 },
        ...overrides,
      });
      const { engine, requests } = watched(new ScriptedEngine());
      await run(job, engine, { states: on });
      const { terminal, tokens } = await stateOf(job);
      if (terminal?.kind !== 'finish') throw new Error('not finished');
      const { cached_tokens } = terminal.usage;
      return { resumed: tokensOf(requests[0]?.resume ?? []), cached_tokens, tokens };
    };
    const isStored = async () => (await readdir(join(folder, 'acme', 'sessions'))).some(isPrefix);
    const first = await ask(states, [7, 8, 9], { tenant: 'acme' });
    await expect.poll(isStored).toBe(true);
    const warm = await ask(states, [10, 11], { tenant: 'acme' });
    const stored = await ask(statesOf(worker), [10, 11], { tenant: 'acme' });
    const stranger = await ask(statesOf(worker), [10, 11], { tenant: 'other' });
    const whole = { resumed: beginning.length, cached_tokens: beginning.length };
    expect(first).toMatchObject({ resumed: 0, cached_tokens: 0 });
    expect([warm, stored]).toMatchObject([whole, whole]);
    expect(stranger).toMatchObject({ resumed: 0, cached_tokens: 0 });
    for (const { tokens } of [warm, stored]) expect(tokens).toEqual(stranger.tokens);

    const longer = [...beginning, 42];
    const other = await ask(states, [], {
      tenant: 'acme',
      prompt: [...longer, 7],
      shared_prefix: longer.length,
    });
    expect(other.cached_tokens).toBe(0);
  });

  it('computes again what a foreign or damaged snapshot cannot give', async () => {
    const first = newJob();
    const worker = new ScriptedEngine();
    await run(first, worker);
    const { tokens } = await stateOf(first);
    const other = exampleJob({
      id: newId('resp', 'default'),
      prompt: [...first.prompt.slice(1), 5, ...tokens, 7],
      parent: { id: first.id, tokens: first.prompt.length + tokens.length },
    });
    const { engine, requests } = watched(new ScriptedEngine());
    await run(other, engine);
    expect(requests[0]?.resume).toBeUndefined();
    expect((await stateOf(other)).terminal).toMatchObject({ kind: 'finish', usage: { cached_tokens: 0 } });
  });
});
