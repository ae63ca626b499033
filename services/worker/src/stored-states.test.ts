import { setTimeout as sleep } from 'node:timers/promises';
import { ScriptedEngine } from '@baton/engine/testing';
import { EngineDiedError, FencedError, ServerError } from '@baton/errors';
import type { GenerationJob } from '@baton/protocol';
import type { SaveResult } from '@baton/snapshot';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { newJob, TestBench } from './test-bench.ts';

describe('runGeneration', () => {
  let bench: TestBench;
  beforeAll(async () => {
    bench = await TestBench.start();
  });
  afterAll(() => bench.stop());

  /** Runs a job to its end while no page can be stored; gives what lets them be, and resolves with the last save then. */
  async function withLateSave(job: GenerationJob): Promise<{ store: () => Promise<SaveResult> }> {
    const [open, saved] = [Promise.withResolvers<void>(), Promise.withResolvers<SaveResult>()];
    const store = bench.newStore();
    const putPages = store.putPages.bind(store);
    store.putPages = async (...args) => {
      await open.promise;
      await putPages(...args);
    };
    const engine = new ScriptedEngine();
    const states = bench.statesOf(engine, {
      every: 8,
      onSave: (_, result) => saved.resolve(result),
      snapshots: bench.snapshotsOf(engine, store),
    });
    await bench.run(job, engine, { states });
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
    await expect.poll(() => bench.isStored(job)).toBe(false);
  });

  it('does not store at its end what nobody may continue', async () => {
    const engine = new ScriptedEngine();
    const snapshots = bench.snapshotsOf(engine);
    const save = vi.spyOn(snapshots, 'save');
    const states = bench.statesOf(engine, { every: 1e6, snapshots });
    await bench.run({ ...newJob(), continuable: false }, engine, { states });
    expect(save).not.toHaveBeenCalled();
    await bench.run(newJob(), engine, { states });
    expect(save).toHaveBeenCalledOnce();
  });

  it('leaves no state of what was deleted before the store had it', async () => {
    const job = newJob();
    const { store } = await withLateSave(job);
    await bench.log.delete(job.id);
    expect(await store()).toMatchObject({ kind: 'saved' });
    await expect.poll(() => bench.isStored(job)).toBe(false);
  });

  /** A worker whose first state waits to be stored until `store` is called, which resolves when it is. */
  function slowWorker() {
    const [saving, open] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    const store = bench.newStore();
    const putManifest = store.putManifest.bind(store);
    store.putManifest = async (...args) => {
      saving.resolve();
      await open.promise;
      return putManifest(...args);
    };
    const engine = new ScriptedEngine({ stepMs: 10 });
    const saves: SaveResult[] = [];
    const states = bench.statesOf(engine, {
      every: 8,
      snapshots: bench.snapshotsOf(engine, store),
      onSave: (_, result) => saves.push(result),
    });
    const save = async () => {
      open.resolve();
      await expect.poll(() => saves).toContainEqual(expect.objectContaining({ kind: 'saved' }));
    };
    return { engine, states, isSaving: saving.promise, save };
  }

  it.each([
    ['nobody may continue', 'was drained'],
    ['nobody may continue', 'was taken for lost'],
    ['nobody may continue', 'has stood still'],
    ['has failed', 'was drained'],
  ])('leaves no state of what %s, though a former owner that %s stores it later', async (what, left) => {
    const job = { ...newJob({ ignore_eos: true }), continuable: what === 'has failed' };
    const { engine, states, isSaving, save } = slowWorker();
    const [stop, goOn] = [new AbortController(), Promise.withResolvers<void>()];
    const generate = engine.generate.bind(engine);
    engine.generate = async function* (...args) {
      for await (const output of generate(...args)) {
        yield output;
        if (output.kind === 'state' && left === 'has stood still') await goOn.promise;
      }
    };
    const former = bench.run(job, engine, { states, signal: stop.signal }).catch(() => {});
    await isSaving;
    if (left === 'was drained') stop.abort(new Error('drained'));
    else await bench.log.claim(job, 'worker-2');
    if (left !== 'has stood still') await former;
    const failing = new ScriptedEngine({ failure: (position) => (position === 300 ? 'throw' : undefined) });
    const next = what === 'has failed' ? failing : new ScriptedEngine();
    const snapshots = bench.snapshotsOf(next);
    const remove = vi.spyOn(snapshots, 'delete');
    await bench.run(job, next, { states: bench.statesOf(next, { snapshots }) }).catch(() => {});
    expect((await bench.stateOf(job)).terminal?.kind).toBe(what === 'has failed' ? 'error' : 'finish');
    await expect.poll(() => remove.mock.settledResults).toHaveLength(1);
    await save();
    goOn.resolve();
    await former;
    await expect.poll(() => bench.isStored(job)).toBe(false);
  });

  it('takes the state of a generation that has failed out of the store, whoever has stored it', async () => {
    const failed = newJob();
    const failing = new ScriptedEngine({
      stepMs: 5,
      failure: (position) => (position === 40 ? 'throw' : undefined),
    });
    const saves: SaveResult[] = [];
    const states = bench.statesOf(failing, { every: 8, onSave: (_, result) => saves.push(result) });
    await expect(bench.run(failed, failing, { states })).rejects.toThrow(ServerError);
    expect(saves.length).toBeGreaterThan(0);
    await expect.poll(() => bench.isStored(failed)).toBe(false);

    const lost = newJob({ ignore_eos: true });
    const dying = new ScriptedEngine({ stepMs: 10 });
    const died = expect(
      bench.run(lost, dying, { states: bench.statesOf(dying, { every: 8 }) }),
    ).rejects.toThrow(EngineDiedError);
    await expect.poll(() => bench.isStored(lost)).toBe(true);
    await dying.close();
    await died;
    for (let claims = 1; claims < 3; claims++) await bench.log.claim(lost, `worker-${claims}`);
    await expect(bench.run(lost, new ScriptedEngine())).rejects.toThrow('3 workers were lost');
    await expect.poll(() => bench.isStored(lost)).toBe(false);
  });

  it('lets go of a state that another worker has taken over, which stays', async () => {
    const job = newJob({ ignore_eos: true });
    const engine = new ScriptedEngine({ stepMs: 10 });
    const snapshots = bench.snapshotsOf(engine);
    const release = vi.spyOn(snapshots, 'release');
    const states = bench.statesOf(engine, { every: 8, snapshots });
    const former = expect(bench.run(job, engine, { states })).rejects.toThrow(FencedError);
    await expect.poll(() => bench.isStored(job)).toBe(true);
    await bench.log.claim(job, 'worker-2');
    await former;
    await expect.poll(() => release.mock.calls).toEqual([[{ tenant: job.tenant, session: job.id }]]);
    expect(await bench.isStored(job)).toBe(true);
  });
});
