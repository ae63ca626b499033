import type { Engine } from '@baton/engine';
import { ScriptedEngine } from '@baton/engine/testing';
import { EngineDiedError, FencedError } from '@baton/errors';
import { type LogState, newId } from '@baton/protocol';
import { exampleJob } from '@baton/protocol/testing';
import { HandedOver } from '@baton/queue';
import type { SaveResult } from '@baton/snapshot';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { runGeneration } from './run-generation.ts';
import { Standby } from './standby.ts';
import type { Restored, SessionStates } from './states/session-states.ts';
import { never, newJob, TestBench } from './test-bench.ts';

describe('Standby', () => {
  let bench: TestBench;
  beforeAll(async () => {
    bench = await TestBench.start();
  });
  afterAll(() => bench.stop());

  /** One worker runs a generation while another stands by for it. */
  async function standingBy(engine = new ScriptedEngine()) {
    const job = newJob();
    const former = new ScriptedEngine({ stepMs: 10 });
    const offer = new AbortController();
    const stopped = bench.run(job, former, {
      signal: offer.signal,
      states: bench.statesOf(former, { every: 8 }),
    });
    stopped.catch(() => {});
    await bench.tokensLogged(job, 20);
    await expect.poll(() => bench.isStored(job)).toBe(true);
    const saves: SaveResult[] = [];
    const states = bench.statesOf(engine, { every: 8, onSave: (_, result) => saves.push(result) });
    const standby = await Standby.start(job.id, { workerId: 'worker-2', log: bench.log, engine, states });
    if (!standby) throw new Error('nothing stands by');
    const context = { log: bench.log, engine, states, workerId: 'worker-2', maxClaims: 3 };
    return { job, former, stopped, offer, standby, context, saves };
  }

  it('goes on where a former owner stops that it stood by for, fed before with all that this one says', async () => {
    const { job, stopped, offer, standby, context, saves } = await standingBy();
    await standby.caughtUp;
    await bench.tokensLogged(job, standby.log.state.tokens.length + 10);
    offer.abort(new HandedOver('worker-2', async () => true));
    await expect(stopped).rejects.toThrow(HandedOver);
    expect(await standby.released).toBe(true);
    expect(await bench.stateOf(job)).toMatchObject({ owner: null, crashes: 0 });
    const begun: Restored[] = [];
    const onRestored = (_: LogState, restored: Restored) => void begun.push(restored);
    await runGeneration(job, never, { ...context, onRestored }, standby);
    expect(begun).toMatchObject([{ source: 'snapshot', of: 'generation' }]);
    const [{ epoch, tokens, text }, expected] = [await bench.stateOf(job), await bench.undisturbed()];
    expect({ epoch, tokens, text }).toEqual({ epoch: 2, tokens: expected.tokens, text: expected.text });
    // Also the first, although the former owner has stored since the next one restored.
    expect(saves.filter(({ kind }) => kind !== 'saved')).toEqual([]);
  });

  it('stands by with a state that its owner has stored since the log was read', async () => {
    const job = newJob();
    const former = new ScriptedEngine({ stepMs: 5 });
    let stored = 0;
    const onSave = (_: string, result: SaveResult) => {
      if (result.kind === 'saved') stored = result.tokens;
    };
    const offer = new AbortController();
    const stopped = bench.run(job, former, {
      signal: offer.signal,
      states: bench.statesOf(former, { every: 8, onSave }),
    });
    stopped.catch(() => {});
    await bench.tokensLogged(job, 4);
    const engine = new ScriptedEngine();
    const states = bench.statesOf(engine, { every: 8 });
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
    const standby = await Standby.start(job.id, {
      workerId: 'worker-2',
      log: bench.log,
      engine,
      states: late,
    });
    expect(await Promise.all(restores)).toMatchObject([{ source: 'snapshot', of: 'generation' }]);
    await standby?.caughtUp;
    offer.abort(new HandedOver('worker-2', async () => true));
    await expect(stopped).rejects.toThrow(HandedOver);
    expect(await standby?.released).toBe(true);
    const context = { log: bench.log, engine, states, workerId: 'worker-2', maxClaims: 3 };
    await runGeneration(job, never, context, standby);
    expect((await bench.stateOf(job)).tokens).toEqual((await bench.undisturbed()).tokens);
  });

  it('goes on at once where its job comes and the owner that it stood by for is lost', async () => {
    const { job, former, stopped, standby, context } = await standingBy();
    await former.close();
    await expect(stopped).rejects.toThrow(EngineDiedError);
    standby.take();
    expect(await standby.released).toBe(true);
    await runGeneration(job, never, context, standby);
    const [{ epoch, tokens }, expected] = [await bench.stateOf(job), await bench.undisturbed()];
    expect({ epoch, tokens }).toEqual({ epoch: 2, tokens: expected.tokens });
  });

  it('does not come where the owner goes on to the end, or another one claims first', async () => {
    const ended = await standingBy();
    await ended.stopped;
    expect(await ended.standby.released).toBe(false);
    await ended.standby.close();
    expect((await bench.stateOf(ended.job)).epoch).toBe(1);

    const taken = await standingBy();
    await bench.log.claim(taken.job, 'worker-3');
    await expect(taken.stopped).rejects.toThrow(FencedError);
    expect(await taken.standby.released).toBe(false);
    await taken.standby.close();
    expect((await bench.stateOf(taken.job)).owner).toBe('worker-3');
  });

  it('leaves it to whoever claims between its release and the claim', async () => {
    const { job, stopped, offer, standby, context } = await standingBy();
    await standby.caughtUp;
    offer.abort(new HandedOver('worker-2', async () => true));
    await expect(stopped).rejects.toThrow(HandedOver);
    expect(await standby.released).toBe(true);
    const { writer } = await bench.log.claim(job, 'worker-3');
    expect(await runGeneration(job, never, context, standby)).toBe(false);
    await standby.close();
    await writer?.append({ kind: 'tokens', tokens: [1], text: 'a' });
    expect(await bench.stateOf(job)).toMatchObject({ owner: 'worker-3', epoch: 2 });
  });

  it.each([
    ['the queue', new Error('drained')],
    ['another worker', new HandedOver('worker-3', async () => true)],
  ])('does not come where the owner releases it for %s, and is no lost owner of it', async (_, reason) => {
    const { job, stopped, offer, standby } = await standingBy();
    await standby.caughtUp;
    offer.abort(reason);
    await expect(stopped).rejects.toThrow(reason);
    expect(await standby.released).toBe(false);
    await standby.close();
    await bench.log.claim(job, 'worker-3');
    expect(await bench.stateOf(job)).toMatchObject({ owner: 'worker-3', epoch: 2, crashes: 0 });
  });

  it('comes where an owner of before releases it, which names nobody', async () => {
    const job = newJob();
    const { writer } = await bench.log.claim(job, 'worker-1');
    const engine = new ScriptedEngine();
    const context = { workerId: 'worker-2', log: bench.log, engine, states: bench.statesOf(engine) };
    const standby = await Standby.start(job.id, context);
    await standby?.caughtUp;
    await writer?.append({ kind: 'released' });
    expect(await standby?.released).toBe(true);
    await standby?.close();
  });

  it('does not come where it catches up only after another worker has gone on', async () => {
    const engine = new ScriptedEngine();
    const standBy: Engine['standBy'] = engine.standBy.bind(engine);
    const { promise: catchingUp, resolve: catchUp } = Promise.withResolvers<void>();
    const late: Engine['standBy'] = (...given) => {
      const standby = standBy(...given);
      async function* outputs() {
        await catchingUp;
        yield* standby.outputs;
      }
      return { ...standby, outputs: outputs() };
    };
    const { job, stopped, offer, standby } = await standingBy(Object.assign(engine, { standBy: late }));
    offer.abort(new HandedOver('worker-2', async () => true));
    await expect(stopped).rejects.toThrow(HandedOver);
    await expect.poll(() => standby.log.state.owner).toBeNull();
    await bench.log.claim(job, 'worker-3');
    catchUp();
    expect(await standby.released).toBe(false);
    await standby.close();
    expect(await bench.stateOf(job)).toMatchObject({ owner: 'worker-3', epoch: 2 });
  });

  it('has nothing to stand by for where a generation has ended, or its prompt is to be scored', async () => {
    const job = newJob();
    const engine = new ScriptedEngine();
    const context = { workerId: 'worker-2', log: bench.log, engine, states: bench.statesOf(engine) };
    await bench.run(job, engine);
    expect(await Standby.start(job.id, context)).toBeNull();
    const scored = exampleJob({ id: newId('resp', 'default'), sampling: { prompt_logprobs: 1 } });
    await bench.log.appendQueued(scored);
    expect(await Standby.start(scored.id, context)).toBeNull();
  });
});
