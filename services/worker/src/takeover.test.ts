import { type Engine, tokensOf } from '@baton/engine';
import { ScriptedEngine } from '@baton/engine/testing';
import { EngineDiedError } from '@baton/errors';
import { newId } from '@baton/protocol';
import { exampleJob } from '@baton/protocol/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { runGeneration } from './run-generation.ts';
import type { Restored } from './states/session-states.ts';
import type { StateTracker } from './states/state-tracker.ts';
import { never, newJob, TestBench, watched } from './test-bench.ts';

describe('runGeneration', () => {
  let bench: TestBench;
  beforeAll(async () => {
    bench = await TestBench.start();
  });
  afterAll(() => bench.stop());

  it('leaves the end open when the engine dies, and another worker goes on with the same text', async () => {
    const job = newJob();
    const dying = new ScriptedEngine({ stepMs: 5 });
    const died = expect(bench.run(job, dying)).rejects.toThrow(EngineDiedError);
    await bench.tokensLogged(job, 3);
    await dying.close();
    await died;
    expect((await bench.stateOf(job)).terminal).toBeNull();

    await bench.run(job, new ScriptedEngine(), { workerId: 'worker-2' });
    const { epoch, tokens, text } = await bench.stateOf(job);
    const expected = await bench.undisturbed();
    expect({ epoch, tokens, text }).toEqual({ epoch: 2, tokens: expected.tokens, text: expected.text });
  });

  it('hands a generation on when it is told to stop, at a token boundary', async () => {
    const job = newJob();
    const drain = new AbortController();
    const stopped = bench.run(job, new ScriptedEngine({ stepMs: 5 }), { signal: drain.signal });
    await bench.tokensLogged(job, 3);
    const reason = new Error('draining');
    drain.abort(reason);
    await expect(stopped).rejects.toBe(reason);
    expect((await bench.stateOf(job)).terminal).toBeNull();

    await bench.run(job, new ScriptedEngine());
    const [{ tokens, text, terminal }, expected] = [await bench.stateOf(job), await bench.undisturbed()];
    expect({ tokens, text, usage: terminal?.kind === 'finish' && terminal.usage }).toEqual({
      tokens: expected.tokens,
      text: expected.text,
      usage: { prompt_tokens: 3, cached_tokens: 0, completion_tokens: expected.tokens.length },
    });
  });

  it('goes on from the newest snapshot where another worker died, and replays only what came after it', async () => {
    const job = newJob();
    const dying = new ScriptedEngine({ stepMs: 10 });
    const saved: number[] = [];
    const states = bench.statesOf(dying, {
      every: 8,
      onSave: (_, result) => {
        if (result.kind === 'saved') saved.push(result.tokens);
      },
    });
    const died = expect(bench.run(job, dying, { states })).rejects.toThrow(EngineDiedError);
    await expect.poll(() => saved.length).toBeGreaterThan(1);
    await dying.close();
    await died;
    const newest = saved.at(-1);
    const { engine, requests } = watched(new ScriptedEngine());
    await bench.run(job, engine, { workerId: 'worker-2' });
    const remembered = tokensOf(requests[0]?.resume ?? []);
    expect(saved).toContain(remembered);
    expect(remembered).toBeGreaterThanOrEqual(newest ?? 0);
    expect((await bench.stateOf(job)).tokens).toEqual((await bench.undisturbed()).tokens);
  });

  it('hands its very last token on when it is drained', async () => {
    const job = newJob();
    const drain = new AbortController();
    const stopped = bench.run(job, new ScriptedEngine({ stepMs: 2 }), { signal: drain.signal });
    await bench.tokensLogged(job, 20);
    drain.abort(new Error('draining'));
    await expect(stopped).rejects.toThrow('draining');
    const { engine, requests } = watched(new ScriptedEngine());
    await bench.run(job, engine, { workerId: 'worker-2' });
    const logged = requests[0]?.replay.length ?? 0;
    expect(tokensOf(requests[0]?.resume ?? [])).toBe(job.prompt.length + logged - 1);
    expect((await bench.stateOf(job)).tokens).toEqual((await bench.undisturbed()).tokens);
  });

  it('tells how far it is and how much of that is stored, also where another owner has stored it', async () => {
    const sampling = { max_tokens: 1000, ignore_eos: true };
    const job = exampleJob({ id: newId('resp', 'default'), sampling });
    const begun: { tracker: StateTracker; stored: number }[] = [];
    const restores: Restored[] = [];
    const own = (engine: Engine, signal: AbortSignal) =>
      runGeneration(job, signal, {
        ...{
          log: bench.log,
          engine,
          states: bench.statesOf(engine, { every: 8 }),
          workerId: 'worker',
          maxClaims: 3,
        },
        onRestored: (_, restored) => void restores.push(restored),
        onProgress: (tracker) => void begun.push({ tracker, stored: tracker.stored }),
      });
    const drain = new AbortController();
    const first = expect(own(new ScriptedEngine({ stepMs: 20 }), drain.signal)).rejects.toThrow('drained');
    await expect.poll(() => begun[0]?.tracker.stored).toBeGreaterThan(0);
    drain.abort(new Error('drained'));
    await first;
    const handedOver = job.prompt.length + (await bench.stateOf(job)).tokens.length;
    await own(new ScriptedEngine(), never);
    expect(begun.map(({ tracker }) => tracker.tokens)).toEqual([handedOver, job.prompt.length + 1000]);
    expect(restores[1]?.tokens).toBeGreaterThan(0);
    expect(begun.map(({ stored }) => stored)).toEqual([0, restores[1]?.tokens]);
  });
});
