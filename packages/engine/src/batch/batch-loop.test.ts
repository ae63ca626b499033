import { ConfigurationError, EngineDiedError, ServerError } from '@baton/errors';
import { exampleJob } from '@baton/protocol/testing';
import { describe, expect, it, vi } from 'vitest';
import type { EngineRequest } from '../engine.ts';
import { byteVocabulary } from '../testing/byte-vocabulary.ts';
import { ScriptedRunner, type ScriptedRunnerOptions } from '../testing/scripted-runner.ts';
import { scriptedState } from '../testing/scripted-state.ts';
import { BatchLoop, type RunEvent } from './batch-loop.ts';
import type { BatchOptions } from './settings.ts';

const promptOf = (length: number) => new Array<number>(length).fill(5);

function request({ prompt = 1, tokens = 3, tenant = 'a', id = 'resp_0' } = {}): EngineRequest {
  return {
    id,
    tenant,
    prompt: promptOf(prompt),
    replay: [],
    replayTextLength: 0,
    promptLogprobsFrom: 0,
    sampling: exampleJob({ sampling: { max_tokens: tokens, ignore_eos: true } }).sampling,
  };
}

function open({
  slots = 2,
  contextLength = 1000,
  scriptOf = () => ({ tokens: byteVocabulary.encode('ab') }),
  ...settings
}: BatchOptions & { contextLength?: number } & Partial<Pick<ScriptedRunnerOptions, 'scriptOf'>> = {}) {
  const model = { fingerprint: '', vocabularySize: byteVocabulary.size, contextLength };
  const runner = new ScriptedRunner({ model, slots: slots ?? 2, scriptOf });
  // A clock that stands still: no step is found to be slow.
  const loop = new BatchLoop({ runner, vocabulary: byteVocabulary, clock: () => 0, ...settings });
  async function finish(): Promise<RunEvent[]> {
    const events: RunEvent[] = [];
    while (!loop.idle) events.push(...(await loop.step()));
    return events;
  }
  return { runner, loop, finish };
}

const outputsOf = (events: readonly RunEvent[], run: number) =>
  events.filter((event) => event.type === 'output' && event.run === run).length;
const endsOf = (events: readonly RunEvent[]) =>
  events.filter(({ type }) => type === 'ended').map(({ run }) => run);

describe('the loop', () => {
  it('lets sequences join and leave at every step', async () => {
    const { runner, loop, finish } = open();
    loop.add(0, request({ tokens: 2 }));
    loop.add(1, request({ tokens: 4 }));
    loop.add(2, request({ tokens: 2 }));
    const events = await finish();
    expect(runner.steps).toEqual([
      [1, 1],
      [1, 1],
      [1, 1],
      [1, 1],
    ]);
    expect([0, 1, 2].map((run) => outputsOf(events, run))).toEqual([2, 4, 2]);
    expect(endsOf(events)).toEqual([0, 1, 2]);
    expect(runner.used).toBe(0);
  });

  it('goes on with streams between the chunks of a prompt', async () => {
    const { runner, loop, finish } = open({ prefillChunk: 8, stepTokens: 5 });
    loop.add(0, request({ tokens: 9 }));
    await loop.step();
    loop.add(1, request({ prompt: 12, tokens: 2 }));
    await finish();
    expect(runner.steps.slice(0, 9)).toEqual([[1], [1], [4], [1], [4], [1], [4], [1, 1], [1]]);
  });

  it('restores one state a step, in the place of a chunk while streams wait, in turns with chunks', async () => {
    const { runner, loop, finish } = open({ slots: 8, prefillChunk: 8 });
    const restored = vi.spyOn(runner, 'importState');
    const resume = [scriptedState(promptOf(10), 0, '')];
    const add = (run: number, prompt: number) => loop.add(run, { ...request({ prompt }), resume });
    for (const run of [0, 1]) add(run, 40);
    const ends: number[] = [];
    /** What a step does: how many states it restores, and what it feeds. */
    const step = async () => {
      const [states, runs] = [restored.mock.calls.length, runner.steps.length];
      ends.push(...endsOf(await loop.step()));
      return [restored.mock.calls.length - states, ...runner.steps.slice(runs)];
    };
    // No stream waits.
    expect([await step(), await step()]).toEqual([
      [1, [8]],
      [1, [8]],
    ]);
    for (const run of [0, 1]) loop.abort(run);
    loop.add(2, request({ tokens: 100 }));
    expect(await step()).toEqual([0, [1]]);
    for (const run of [3, 4, 5]) add(run, 18);
    loop.add(6, request({ prompt: 6 }));
    expect([await step(), await step(), await step(), await step(), await step(), await step()]).toEqual([
      [1, [1]],
      [0, [1], [4]],
      [1, [1]],
      [0, [1], [4]],
      [1, [1, 1]],
      [0, [1, 1], [4]],
    ]);
    expect([...ends, ...endsOf(await finish())].sort()).toEqual([2, 3, 4, 5, 6]);
  });

  it('prefills in whole chunks while no stream waits for it', async () => {
    const { runner, loop, finish } = open({ prefillChunk: 8, stepTokens: 5 });
    loop.add(0, request({ prompt: 17, tokens: 1 }));
    await finish();
    expect(runner.steps).toEqual([[8], [8], [1]]);
  });

  it('shares slots among tenants, whoever asks for more', async () => {
    const { loop, finish } = open();
    for (let run = 0; run < 6; run++) loop.add(run, request({ tenant: 'greedy', tokens: 4 }));
    loop.add(6, request({ tenant: 'modest', tokens: 4 }));
    loop.add(7, request({ tenant: 'modest', tokens: 4 }));
    const ends = endsOf(await finish());
    expect(ends.slice(0, 2)).toEqual([0, 6]);
    expect(ends.indexOf(7)).toBeLessThan(ends.indexOf(2));
    expect(ends.filter((run) => run < 6)).toEqual([0, 1, 2, 3, 4, 5]);
  });

  it('takes turns with the prompts of tenants', async () => {
    const { loop, finish } = open({ prefillChunk: 10 });
    loop.add(0, request({ tenant: 'long', prompt: 500, tokens: 1 }));
    loop.add(1, request({ tenant: 'short', prompt: 30, tokens: 1 }));
    expect(endsOf(await finish())).toEqual([1, 0]);
  });

  it.each([
    [10, 9],
    [20, 4],
  ])('takes turns with a tenant whose prompts of %d tokens come and go', async (prompt, others) => {
    const { loop } = open({ slots: 4, prefillChunk: 10 });
    loop.add(0, request({ tenant: 'long', prompt: 100, tokens: 1 }));
    const ends: number[] = [];
    for (let run = 1; !ends.includes(0); ) {
      for (; run - ends.length < 4; run++) loop.add(run, request({ tenant: 'short', prompt, tokens: 1 }));
      ends.push(...endsOf(await loop.step()));
      expect(run).toBeLessThan(20);
    }
    expect(ends).toHaveLength(others + 1);
  });

  it('admits no more than the state memory may have to hold', async () => {
    const { runner, loop, finish } = open({ slots: 4, stateMemory: 1000, contextLength: 1000 });
    expect(loop.capacity).toMatchObject({ slots: 4, stateBytesLimit: 1000 });
    for (let run = 0; run < 4; run++) loop.add(run, request({ prompt: 1, tokens: 399 }));
    const used: number[] = [];
    while (!loop.idle) {
      await loop.step();
      used.push(runner.used);
    }
    expect(Math.max(...used)).toBe(2);
    loop.add(4, request({ tokens: 5000 }));
    expect(endsOf(await finish())).toEqual([4]);
  });

  it('tells what the states take: of each as much as of the longest', async () => {
    const { loop } = open();
    loop.add(0, request({ prompt: 100, tokens: 2 }));
    loop.add(1, request({ prompt: 3, tokens: 50 }));
    await loop.step();
    expect(loop.report).toMatchObject({ prefilled: 64, stateBytes: 200 });
    loop.drain(0);
    await loop.step();
    expect(loop.report).toMatchObject({ decoding: 0, prefilled: 0, sampled: 0, stateBytes: 3 });
    loop.drain(1);
    await loop.step();
    expect(loop.report?.stateBytes).toBe(0);
  });

  it('refuses a state memory in which one sequence may not fit', () => {
    const megabytes = 2 ** 20;
    expect(() => open({ stateMemory: megabytes, contextLength: 1.5 * megabytes })).toThrow(
      new ConfigurationError(
        'BATON_STATE_MEMORY is 1 (MiB), which has no room for one sequence of 1572864 tokens; it must be at least 2',
      ),
    );
  });

  it('fails one sequence alone', async () => {
    const { runner, loop, finish } = open({
      scriptOf: ({ id }) => ({
        tokens: byteVocabulary.encode('ab'),
        beforeToken: (position) => {
          if (id === 'bad' && position === 2) throw new ServerError('it fails');
        },
      }),
    });
    loop.add(0, request({ id: 'bad', tokens: 5 }));
    loop.add(1, request({ tokens: 5 }));
    const events = await finish();
    expect(events.filter(({ run }) => run === 0).map(({ type }) => type)).toEqual([
      'output',
      'output',
      'failed',
    ]);
    expect([outputsOf(events, 1), endsOf(events)]).toEqual([5, [1]]);
    expect(runner.used).toBe(0);
  });

  it.each(['runBatch', 'exportState'] as const)(
    'ends as a whole where %s finds the engine dead',
    async (where) => {
      const { runner, loop } = open();
      const states = { every: 2, pageTokens: 1, from: 0 };
      loop.add(0, { ...request({ tokens: 5 }), states });
      loop.add(1, request({ tokens: 5 }));
      await loop.step();
      vi.spyOn(runner, where).mockRejectedValue(new EngineDiedError('the device is lost'));
      await expect(loop.step()).rejects.toThrow('the device is lost');
    },
  );

  it('ends a request that cannot run, or has nothing to run, without a slot', async () => {
    const { runner, loop, finish } = open();
    loop.add(0, { ...request(), prompt: [-1] });
    loop.add(1, request({ tokens: 0 }));
    expect(await finish()).toMatchObject([
      { type: 'failed', run: 0, error: { code: 'invalid_value' } },
      { type: 'output', run: 1, output: { finish: 'length' } },
      { type: 'ended', run: 1 },
    ]);
    expect(runner.steps).toEqual([]);
  });
});

describe('an abort', () => {
  it('frees the slot before the next step, in decode and in prefill', async () => {
    const { runner, loop } = open({ prefillChunk: 10 });
    loop.add(0, request({ tokens: 100 }));
    loop.add(1, request({ prompt: 100, tokens: 100 }));
    await loop.step();
    loop.abort(0);
    loop.abort(1);
    loop.add(2, request({ tokens: 2 }));
    const events = await loop.step();
    expect(runner.steps).toEqual([[1], [4], [1]]);
    expect(runner.used).toBe(1);
    expect(events.map(({ run }) => run)).toEqual([2]);
  });

  it('during a step silences what the step gives', async () => {
    const { runner, loop } = open();
    loop.add(0, request({ tokens: 100 }));
    loop.add(1, request({ tokens: 100 }));
    const stepping = loop.step();
    loop.abort(0);
    expect((await stepping).map(({ run }) => run)).toEqual([1]);
    await loop.step();
    expect(runner.used).toBe(1);
  });

  it('of one that waits, of one that is gone and of one that never was does nothing else', async () => {
    const { runner, loop, finish } = open({ slots: 1 });
    for (const run of [0, 1]) loop.add(run, request());
    await loop.step();
    loop.abort(1);
    loop.abort(7);
    expect(endsOf(await finish())).toEqual([0]);
    loop.abort(0);
    expect(loop.idle).toBe(true);
    expect(runner.used).toBe(0);
  });
});
