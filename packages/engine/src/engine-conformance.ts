import { EngineDiedError, RequestError, ServerError } from '@baton/errors';
import { Detokenizer } from '@baton/hymba/tokenizer';
import type { GrammarSource, Sampling } from '@baton/protocol';
import { exampleJob } from '@baton/protocol/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Engine, EngineOutput, EngineRequest } from './engine.ts';
import type { Vocabulary } from './sequence.ts';

export interface ConformanceSubject {
  readonly engine: Engine;
  readonly vocabulary: Vocabulary;
  /** Several tokens, at least one of them no special one. */
  readonly prompt: readonly number[];
}

type Overrides = Omit<Partial<EngineRequest>, 'sampling'> & { readonly sampling?: Partial<Sampling> };

/**
 * What holds for every engine: to be called in a test file of each. `open` is called for each group of tests. A slow one is
 * spared what is the same on every device: what is refused, and what becomes of the logits.
 */
export function describeEngineConformance(
  name: string,
  open: () => Promise<ConformanceSubject>,
  { slow = false } = {},
): void {
  describe(`${name} conforms`, () => {
    let engine: Engine;
    let vocabulary: Vocabulary;
    let prompt: readonly number[];
    beforeAll(async () => {
      ({ engine, vocabulary, prompt } = await open());
    });
    afterAll(() => engine.close());

    const requestOf = ({ sampling, ...rest }: Overrides = {}): EngineRequest => ({
      id: `resp_${'0'.repeat(32)}`,
      tenant: 'tenant',
      prompt,
      replay: [],
      replayTextLength: 0,
      promptLogprobsFrom: 0,
      ...rest,
      sampling: exampleJob({ sampling: { max_tokens: 24, ...sampling } }).sampling,
    });
    const generate = (overrides?: Overrides, signal = new AbortController().signal) =>
      engine.generate(requestOf(overrides), signal);
    const run = async (overrides?: Overrides) => summarise(await Array.fromAsync(generate(overrides)));
    /** Runs again what is left of `before` after its first `count` tokens. */
    const runAfter = async (before: Awaited<ReturnType<typeof run>>, count: number, overrides: Overrides) => {
      const logged = before.pieces.slice(0, count).join('');
      const replay = before.tokens.slice(0, count);
      const rest = await run({ ...overrides, replay, replayTextLength: logged.length });
      return { ...rest, wholeText: logged + rest.text };
    };
    const textOf = (tokens: readonly number[]) => {
      const detokenizer = new Detokenizer(vocabulary);
      return tokens.map((token) => detokenizer.push(token)).join('') + detokenizer.flush();
    };

    const temperatures = slow ? [1.2] : [0, 1.2];

    it('says which model it runs', () => {
      expect(engine.model.fingerprint).toMatch(/^[0-9a-f]{64}$/);
      expect(engine.model.vocabularySize).toBeGreaterThan(1);
      expect(engine.model.contextLength).toBeGreaterThan(prompt.length + 24);
    });

    it('gives the text of its tokens, and `finish` once, at the end', async () => {
      const { tokens, text, finishes } = await run();
      expect(tokens.length).toBeGreaterThan(3);
      expect(tokens.length).toBeLessThanOrEqual(24);
      expect(text).toBe(textOf(tokens));
      expect(finishes.slice(0, -1).every((finish) => finish === undefined)).toBe(true);
      expect(finishes.at(-1)).toBe(tokens.length === 24 ? 'length' : 'stop');
    });

    it('runs many at once, more than it has slots for, each as if alone', async () => {
      expect(engine.capacity.slots).toBeGreaterThan(1);
      const count = 2 * engine.capacity.slots + 3;
      const settings = Array.from({ length: count }, (_, n) => ({
        // Of many lengths, some longer than a chunk.
        prompt: Array.from({ length: 1 + ((n * 29) % 90) }, (_, i) => prompt[(i + n) % prompt.length] ?? 0),
        tenant: `tenant-${n % 3}`,
        sampling: { max_tokens: 3 + (n % 5), ignore_eos: true, logprobs: 0 },
      }));
      const together = await Promise.all(settings.map((setting) => run(setting)));
      for (const n of [0, 1, Math.floor(count / 2), count - 1]) {
        const [found, alone] = [together[n], await run(settings[n])];
        expect(found?.tokens).toEqual(alone.tokens);
        expect(found?.text).toBe(alone.text);
        for (const [index, { logprob }] of alone.logprobs.entries()) {
          expect(found?.logprobs[index]?.logprob).toBeCloseTo(logprob ?? Number.NaN, 4);
        }
      }
    });

    it('says what it has room for', () => {
      const { slots, prefillChunk, stepTokens, stateBytes, stateBytesLimit } = engine.capacity;
      for (const value of [slots, prefillChunk, stepTokens, stateBytesLimit])
        expect(value).toBeGreaterThan(0);
      expect(stateBytes.full).toBeGreaterThan(stateBytes.empty);
      expect(stateBytesLimit).toBeGreaterThanOrEqual(stateBytes.full);
      expect(stateBytesLimit).toBeLessThanOrEqual(slots * stateBytes.full);
    });

    it('ends without `finish` when aborted, and goes on with others', async () => {
      const controller = new AbortController();
      const seen: EngineOutput[] = [];
      for await (const output of generate(
        { sampling: { ignore_eos: true, max_tokens: 200 } },
        controller.signal,
      )) {
        seen.push(output);
        if (seen.length === 2) controller.abort();
      }
      expect(seen).toHaveLength(2);
      expect(summarise(seen).finishes).toEqual([undefined, undefined]);
      expect(await Array.fromAsync(generate({}, AbortSignal.abort()))).toEqual([]);
      for await (const _ of generate({ sampling: { ignore_eos: true, max_tokens: 200 } })) break;
      expect((await run({ sampling: { max_tokens: 2 } })).tokens).toHaveLength(2);
    });

    it('ends without an output when aborted while it prefills', async () => {
      const length = engine.model.contextLength - 10;
      const long = Array.from({ length }, (_, i) => prompt[i % prompt.length] ?? 0);
      const controller = new AbortController();
      const beside = generate({ sampling: { ignore_eos: true, max_tokens: 40 } })[Symbol.asyncIterator]();
      await beside.next();
      const prefilling = Array.fromAsync(generate({ prompt: long }, controller.signal));
      await beside.next();
      controller.abort();
      expect(await prefilling).toEqual([]);
      let tokens = 2;
      while (!(await beside.next()).done) tokens++;
      expect(tokens).toBe(40);
    });

    it('ends a wait when aborted, and gives no slot to what waited', async () => {
      // They hold their slots as long as nobody takes over, and so would the one that waits.
      const standBy = (signal: AbortSignal) =>
        engine.standBy(requestOf(), signal).outputs[Symbol.asyncIterator]();
      const holders = Array.from({ length: engine.capacity.slots }, () => new AbortController());
      for (const { signal } of holders) {
        expect((await standBy(signal).next()).value).toEqual({ kind: 'caught up' });
      }
      const controller = new AbortController();
      const waiting = standBy(controller.signal).next();
      const next = run({ sampling: { max_tokens: 2 } });
      controller.abort();
      expect(await waiting).toEqual({ done: true, value: undefined });
      // The only slot that comes free is for the one behind it.
      holders[0]?.abort();
      expect((await next).tokens.length).toBeGreaterThan(0);
      for (const holder of holders) holder.abort();
    });

    const states = { every: 5, at: [2], pageTokens: 4, from: 0 };
    const deltasOf = (outputs: readonly EngineOutput[]) =>
      outputs.flatMap((output) => (output.kind === 'state' ? [output.state] : []));

    it.each(temperatures)('goes on from any of its own states, at temperature %d', async (temperature) => {
      const sampling = { temperature, seed: 7, ignore_eos: true };
      const outputs = await Array.fromAsync(generate({ sampling, states }));
      const whole = summarise(outputs);
      const deltas = deltasOf(outputs);
      const fed = prompt.length + whole.tokens.length - 1;
      // The prompt is fed up to its second token, then to its end, and from there on token by token.
      const fives = Array.from({ length: fed + 1 }, (_, tokens) => tokens).filter(
        (tokens) => tokens % 5 === 0,
      );
      const due = [2, prompt.length, ...fives.filter((tokens) => tokens > prompt.length), fed];
      expect(deltas.map(({ tokens }) => tokens)).toEqual([...new Set(due)]);
      for (const [index, { from }] of deltas.entries()) {
        const before = deltas[index - 1]?.tokens ?? 0;
        expect(from).toBe(before - (before % states.pageTokens));
      }
      for (const [index, { tokens }] of deltas.slice(0, -1).entries()) {
        for (const extra of slow ? [3] : [0, 3]) {
          const count = Math.max(0, Math.min(tokens + 1 + extra - prompt.length, whole.tokens.length - 1));
          const resume = deltas.slice(0, index + 1);
          const rest = await runAfter(whole, count, { sampling, resume });
          expect([...whole.tokens.slice(0, count), ...rest.tokens], `from ${tokens}`).toEqual(whole.tokens);
          expect(rest.wholeText).toBe(whole.text);
        }
      }
    });

    it('goes on from a state while others run', async () => {
      const sampling = { ignore_eos: true };
      const outputs = await Array.fromAsync(generate({ sampling, states }));
      const whole = summarise(outputs);
      const resume = deltasOf(outputs);
      const rests = await Promise.all(
        [1, 2, 3, 4].map((count) =>
          runAfter(whole, whole.tokens.length - count, { sampling, resume: resume.slice(0, -1) }),
        ),
      );
      for (const [index, { tokens }] of rests.entries()) {
        expect(tokens).toEqual(whole.tokens.slice(whole.tokens.length - index - 1));
      }
    });

    it('ends at a token boundary when it is drained, with a state from which another goes on', async () => {
      const max_tokens = slow ? 60 : 200;
      const sampling = { ignore_eos: true, max_tokens };
      const whole = await run({ sampling });
      const drain = new AbortController();
      const outputs: EngineOutput[] = [];
      const running = engine.generate(
        requestOf({ sampling, states }),
        new AbortController().signal,
        drain.signal,
      );
      for await (const output of running) {
        outputs.push(output);
        if (outputs.length === 9) drain.abort();
      }
      const { tokens, text, finishes } = summarise(outputs);
      expect(tokens.length).toBeLessThan(max_tokens);
      expect(finishes.at(-1)).toBeUndefined();
      const resume = deltasOf(outputs);
      expect(resume.at(-1)?.tokens).toBe(prompt.length + tokens.length - 1);
      const rest = await run({ sampling, resume, replay: tokens, replayTextLength: text.length });
      expect([...tokens, ...rest.tokens]).toEqual(whole.tokens);
      expect(text + rest.text).toBe(whole.text);
      await expect(
        Array.fromAsync(engine.generate(requestOf(), new AbortController().signal, drain.signal)),
      ).resolves.toEqual([]);
    });

    it.each(temperatures)(
      'stands by for another owner, and goes on where that stops, at temperature %d',
      async (temperature) => {
        const sampling = { temperature, seed: 5, ignore_eos: true, stop: ['zz zz'] };
        const whole = await run({ sampling });
        const logged = (count: number) => whole.pieces.slice(0, count).join('').length;
        for (const [at, count] of [0, 1, 7, whole.tokens.length - 1, whole.tokens.length].entries()) {
          // One that begins without a token, one that knows some, one that is told the last with the end of the wait.
          const known = at % 2 === 0 ? 0 : Math.min(1, count);
          const request = requestOf({ sampling, states, replay: whole.tokens.slice(0, known) });
          const standby = engine.standBy(request, new AbortController().signal);
          const outputs = standby.outputs[Symbol.asyncIterator]();
          const found: EngineOutput[] = [];
          for (const token of whole.tokens.slice(known, Math.max(known, count - 1))) standby.follow([token]);
          for (let next = await outputs.next(); ; next = await outputs.next()) {
            if (next.done || next.value.kind === 'tokens') throw new Error('it samples before it may');
            if (next.value.kind === 'caught up') break;
            found.push(next.value);
          }
          if (count > known) standby.follow(whole.tokens.slice(Math.max(known, count - 1), count));
          standby.takeOver(logged(count));
          for (let next = await outputs.next(); !next.done; next = await outputs.next())
            found.push(next.value);
          const rest = summarise(found);
          expect(rest.tokens, `after ${count}`).toEqual(whole.tokens.slice(count));
          expect(rest.text).toBe(whole.text.slice(logged(count)));
          expect(rest.finishes.at(-1)).toBe('length');
          expect(deltasOf(found).length).toBeGreaterThan(0);
        }
      },
    );

    it('lets others run while sequences stand by, and frees their slots', async () => {
      const stop = new AbortController();
      const standbys = Array.from({ length: engine.capacity.slots }, () =>
        engine.standBy(requestOf({ replay: [prompt[0] ?? 0] }), stop.signal),
      );
      for (const { outputs } of standbys) {
        const iterator = outputs[Symbol.asyncIterator]();
        expect((await iterator.next()).value).toEqual({ kind: 'caught up' });
        void iterator.next();
      }
      const waiting = run();
      stop.abort();
      expect((await waiting).tokens.length).toBeGreaterThan(0);
    });

    it('frees the slots of what is aborted, whether its outputs are read or not', async () => {
      const stop = new AbortController();
      const standbys = Array.from({ length: engine.capacity.slots }, () =>
        engine.standBy(requestOf({ replay: [prompt[0] ?? 0] }), stop.signal),
      );
      // The last to get a slot; the others are never read.
      const last = standbys.at(-1)?.outputs[Symbol.asyncIterator]();
      expect((await last?.next())?.value).toEqual({ kind: 'caught up' });
      stop.abort();
      expect((await run()).tokens.length).toBeGreaterThan(0);
      const late = engine.standBy(requestOf(), stop.signal);
      expect(await Array.fromAsync(late.outputs)).toEqual([]);
      expect(await last?.next()).toMatchObject({ done: true });
    });

    it('ends what runs, and refuses what comes, once it is closed', async () => {
      const { engine: closing } = await open();
      const running = closing.generate(
        requestOf({ sampling: { ignore_eos: true, max_tokens: 200 } }),
        new AbortController().signal,
      );
      const iterator = running[Symbol.asyncIterator]();
      await iterator.next();
      const rest = async () => {
        while (!(await iterator.next()).done);
      };
      const ended = expect(rest()).rejects.toThrow(EngineDiedError);
      await closing.close();
      await ended;
      await expect(
        Array.fromAsync(closing.generate(requestOf(), new AbortController().signal)),
      ).rejects.toThrow(EngineDiedError);
      await closing.close();
    });

    if (slow) return;

    it('refuses a state that leaves nothing to do, or that is of something else', async () => {
      const resume = deltasOf(await Array.fromAsync(generate({ states })));
      await expect(run({ resume })).rejects.toThrow(ServerError);
      const foreign = resume.slice(0, 1).map((delta) => ({ ...delta, fingerprint: 'other' }));
      await expect(run({ resume: foreign })).rejects.toThrow(/model other/);
      const torn = resume.slice(0, 1).map((delta) => ({ ...delta, ssm: [] }));
      await expect(run({ resume: torn })).rejects.toThrow(/ssm/);
      expect((await run()).tokens.length).toBeGreaterThan(0);
    });

    it('refuses what the model cannot take, and goes on with others', async () => {
      await expect(run({ prompt: [engine.model.vocabularySize] })).rejects.toThrow(RequestError);
      const long = new Array<number>(engine.model.contextLength + 1).fill(prompt[0] ?? 0);
      await expect(run({ prompt: long })).rejects.toThrow(
        expect.objectContaining({ code: 'context_length_exceeded', param: 'prompt' }),
      );
      expect((await run()).tokens.length).toBeGreaterThan(0);
    });

    it('runs several at once, each as if alone', async () => {
      const settings = [1, 2, 3, 4].map((seed) => ({ sampling: { temperature: 1, seed } }));
      const together = await Promise.all(settings.map((setting) => run(setting)));
      for (const [index, setting] of settings.entries()) expect(together[index]).toEqual(await run(setting));
    });

    it('serves a tenant although another one asks for all slots and more', async () => {
      const long = { sampling: { ignore_eos: true, max_tokens: 30 } };
      const ended: string[] = [];
      const runOf = async (tenant: string) => {
        await run({ ...long, tenant });
        ended.push(tenant);
      };
      const greedy = Array.from({ length: 3 * engine.capacity.slots }, () => runOf('greedy'));
      await Promise.all([...greedy, runOf('modest')]);
      // First come, first served would have put it last.
      expect(ended.indexOf('modest')).toBeLessThan(ended.length - engine.capacity.slots);
    });

    it('gives whole characters only, whatever tokens are sampled', async () => {
      for (const seed of [1, 2, 3]) {
        const sampling = { temperature: 2, seed, ignore_eos: true };
        const { tokens, text, pieces } = await run({ sampling });
        expect(text).toBe(textOf(tokens));
        expect(pieces.every((piece) => piece.isWellFormed())).toBe(true);
      }
    });

    it.each([0, 1.2])(
      'goes on after a replay as if nothing had happened, at temperature %d',
      async (temperature) => {
        const sampling = { temperature, seed: 42, repetition_penalty: 1.1, stop: ['zz zz'] };
        const whole = await run({ sampling });
        for (const count of [0, 1, 2, 3, whole.tokens.length - 1, whole.tokens.length]) {
          const rest = await runAfter(whole, count, { sampling });
          expect([...whole.tokens.slice(0, count), ...rest.tokens], `after ${count}`).toEqual(whole.tokens);
          expect(rest.wholeText, `after ${count}`).toBe(whole.text);
          expect(rest.finishes.at(-1)).toBe(whole.finishes.at(-1));
        }
      },
    );

    const grammar: GrammarSource = {
      type: 'json_schema',
      schema: {
        type: 'object',
        properties: {
          kind: { enum: ['bear', 'boät'] },
          age: { type: 'integer', minimum: 0, maximum: 130 },
          names: { type: 'array', items: { type: 'string', maxLength: 3 }, maxItems: 2 },
        },
        required: ['kind', 'age', 'names'],
      },
    };

    it.each([0, 1.2])(
      'says what its grammar allows, also after a replay, at temperature %d',
      async (temperature) => {
        const sampling = { temperature, seed: 11, max_tokens: 150, grammar };
        const whole = await run({ sampling });
        expect(JSON.parse(whole.text)).toMatchObject({ kind: expect.stringMatching(/^(bear|boät)$/) });
        expect(whole.finishes.at(-1)).toBe('stop');
        for (let count = 0; count <= whole.tokens.length; count += temperature === 0 ? 3 : 5) {
          const rest = await runAfter(whole, count, { sampling });
          expect([...whole.tokens.slice(0, count), ...rest.tokens], `after ${count}`).toEqual(whole.tokens);
          expect(rest.wholeText).toBe(whole.text);
        }
      },
    );

    it('runs those with and without a grammar at once, each as if alone', async () => {
      const settings = [1, 2, 3, 4].map((seed) => ({
        sampling: { temperature: 1, seed, max_tokens: 40, ...(seed % 2 === 0 && { grammar }) },
      }));
      const together = await Promise.all(settings.map((setting) => run(setting)));
      for (const [index, setting] of settings.entries()) expect(together[index]).toEqual(await run(setting));
    });

    it('refuses a grammar that it cannot keep to, and goes on with others', async () => {
      const schema = { type: 'object', minProperties: 1 };
      await expect(run({ sampling: { grammar: { type: 'json_schema', schema } } })).rejects.toThrow(
        RequestError,
      );
      expect((await run()).tokens.length).toBeGreaterThan(0);
    });

    it('stops at a stop string, before, over and after a replay', async () => {
      const free = await run();
      const middle = Math.floor(free.text.length / 2);
      const stop = free.text.slice(middle, middle + 6);
      const sampling = { stop: ['never this', stop] };
      const stopped = await run({ sampling });
      expect(stopped.text).toBe(free.text.slice(0, free.text.indexOf(stop)));
      expect(stopped.finishes.at(-1)).toBe('stop');
      for (let count = 0; count <= stopped.tokens.length; count++) {
        const rest = await runAfter(stopped, count, { sampling });
        expect(rest.wholeText, `after ${count}`).toBe(stopped.text);
      }
    });

    it('scores output tokens: greedy ones are the most likely, alternatives come in order', async () => {
      const { tokens, logprobs } = await run({ sampling: { logprobs: 5 } });
      expect(logprobs.map(({ token }) => token)).toEqual(tokens);
      for (const { token, logprob, top } of logprobs) {
        expect(top).toHaveLength(5);
        expect(top[0]).toEqual([token, logprob]);
        expect(top.map(([, value]) => value)).toEqual(top.map(([, value]) => value).sort((a, b) => b - a));
        expect(top.reduce((sum, [, value]) => sum + Math.exp(value), 0)).toBeLessThanOrEqual(1 + 1e-6);
      }
      expect((await run()).logprobs).toEqual([]);
    });

    it('scores prompt tokens, from where it is asked to', async () => {
      const sampling = { prompt_logprobs: 1, max_tokens: 0 };
      const whole = await run({ sampling });
      expect(whole.promptLogprobs.map(({ token }) => token)).toEqual(prompt);
      expect(whole.promptLogprobs.map(({ logprob }) => logprob === null)).toEqual(
        prompt.map((_, i) => i === 0),
      );
      expect([whole.tokens, whole.finishes]).toEqual([[], ['length']]);
      const from = prompt.length - 2;
      const rest = await run({ sampling, promptLogprobsFrom: from });
      expect(rest.promptLogprobs).toHaveLength(2);
      for (const [index, { token, logprob }] of rest.promptLogprobs.entries()) {
        expect(token).toBe(prompt[from + index]);
        expect(logprob).toBeCloseTo(whole.promptLogprobs[from + index]?.logprob ?? Number.NaN, 3);
      }
    });
  });
}

function summarise(outputs: readonly EngineOutput[]) {
  const tokenOutputs = outputs.filter((output) => output.kind === 'tokens');
  const promptOutputs = outputs.filter((output) => output.kind === 'prompt');
  return {
    tokens: tokenOutputs.flatMap(({ tokens }) => tokens),
    pieces: tokenOutputs.map(({ text }) => text),
    text: tokenOutputs.map(({ text }) => text).join(''),
    finishes: tokenOutputs.map(({ finish }) => finish),
    logprobs: tokenOutputs.flatMap(({ logprobs }) => logprobs ?? []),
    promptLogprobs: promptOutputs.flatMap(({ logprobs }) => logprobs),
  };
}
