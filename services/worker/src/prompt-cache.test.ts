import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { tokensOf } from '@baton/engine';
import { ScriptedEngine } from '@baton/engine/testing';
import { EngineDiedError } from '@baton/errors';
import { type GenerationJob, newId } from '@baton/protocol';
import { exampleJob } from '@baton/protocol/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { SessionStates } from './states/session-states.ts';
import { newJob, TestBench, watched } from './test-bench.ts';

const isPrefix = (session: string) => session.startsWith('prefix-');

describe('runGeneration', () => {
  let bench: TestBench;
  beforeAll(async () => {
    bench = await TestBench.start();
  });
  afterAll(() => bench.stop());

  it('goes on from the turn before: in memory, from its snapshot in two branches, or by computing again', async () => {
    const first = newJob();
    const worker = new ScriptedEngine();
    const states = bench.statesOf(worker);
    await bench.run(first, worker, { states });
    const { tokens } = await bench.stateOf(first);
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
      await bench.run(job, engine, { states: on });
      const { terminal, tokens: said } = await bench.stateOf(job);
      if (terminal?.kind !== 'finish') throw new Error('not finished');
      return { resumed: tokensOf(requests[0]?.resume ?? []), cached: terminal.usage.cached_tokens, said };
    };
    const warm = await follow(states);
    const stored = await follow(bench.statesOf(worker));
    const again = await follow(bench.statesOf(worker));
    const anew = await follow(bench.statesOf(worker), { parent: null });
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
    await bench.run(first, worker);
    const { tokens } = await bench.stateOf(first);
    const parent = { id: first.id, tokens: first.prompt.length + tokens.length };
    const next = { ...newJob({ ignore_eos: true }), parent, prompt: [...first.prompt, ...tokens, 7, 8, 9] };

    const drain = new AbortController();
    const drained = bench.run(next, new ScriptedEngine({ stepMs: 10 }), { signal: drain.signal });
    await bench.tokensLogged(next, 3);
    drain.abort(new Error('draining'));
    await expect(drained).rejects.toThrow('draining');
    const dying = new ScriptedEngine({ stepMs: 10 });
    const died = expect(bench.run(next, dying)).rejects.toThrow(EngineDiedError);
    await bench.tokensLogged(next, 6);
    await dying.close();
    await died;
    await bench.run(next, new ScriptedEngine());
    expect(await bench.stateOf(next)).toMatchObject({
      epoch: 3,
      terminal: { kind: 'finish', usage: { cached_tokens: parent.tokens - 1 } },
    });
  });

  it('computes the beginning that prompts of a tenant share once: goes on from it in memory, and from its snapshot', async () => {
    const beginning = Array.from({ length: 100 }, (_, i) => 3 + ((i * 31) % 250));
    const worker = new ScriptedEngine();
    const states = bench.statesOf(worker);
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
      await bench.run(job, engine, { states: on });
      const { terminal, tokens } = await bench.stateOf(job);
      if (terminal?.kind !== 'finish') throw new Error('not finished');
      const { cached_tokens } = terminal.usage;
      return { resumed: tokensOf(requests[0]?.resume ?? []), cached_tokens, tokens };
    };
    const isStored = async () => (await readdir(join(bench.folder, 'acme', 'sessions'))).some(isPrefix);
    const first = await ask(states, [7, 8, 9], { tenant: 'acme' });
    await expect.poll(isStored).toBe(true);
    const warm = await ask(states, [10, 11], { tenant: 'acme' });
    const stored = await ask(bench.statesOf(worker), [10, 11], { tenant: 'acme' });
    const stranger = await ask(bench.statesOf(worker), [10, 11], { tenant: 'other' });
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
    await bench.run(first, worker);
    const { tokens } = await bench.stateOf(first);
    const other = exampleJob({
      id: newId('resp', 'default'),
      prompt: [...first.prompt.slice(1), 5, ...tokens, 7],
      parent: { id: first.id, tokens: first.prompt.length + tokens.length },
    });
    const { engine, requests } = watched(new ScriptedEngine());
    await bench.run(other, engine);
    expect(requests[0]?.resume).toBeUndefined();
    expect((await bench.stateOf(other)).terminal).toMatchObject({
      kind: 'finish',
      usage: { cached_tokens: 0 },
    });
  });
});
