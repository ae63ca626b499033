import { RequestError, ServerError } from '@baton/errors';
import type { Sampling, TokenLogprob } from '@baton/protocol';
import { exampleJob } from '@baton/protocol/testing';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { BatchLoop } from './batch/batch-loop.ts';
import type { EngineOutput, EngineRequest } from './engine.ts';
import type { Vocabulary } from './sequence.ts';
import { byteVocabulary } from './testing/byte-vocabulary.ts';
import { ScriptedRunner } from './testing/scripted-runner.ts';

const eos = 2;
const [prompt, otherPrompt] = [[1, ...byteVocabulary.encode('Tell me a story.')], [1]];

interface Setting {
  readonly sampling?: Partial<Sampling>;
  readonly request?: Partial<EngineRequest>;
  readonly script?: string;
  readonly chunkSize?: number;
  readonly contextLength?: number;
  readonly vocabulary?: Vocabulary;
}

function start({
  sampling,
  request,
  script = 'naïve 👩‍👩‍👧 END',
  chunkSize = 256,
  contextLength = 512,
  vocabulary = byteVocabulary,
}: Setting) {
  const full: EngineRequest = {
    id: 'resp_0',
    tenant: 'tenant',
    prompt,
    replay: [],
    replayTextLength: 0,
    promptLogprobsFrom: 0,
    ...request,
    sampling: exampleJob({ sampling: { max_tokens: 100, ...sampling } }).sampling,
  };
  const runner = new ScriptedRunner({
    model: { fingerprint: '', vocabularySize: byteVocabulary.size, contextLength },
    slots: 1,
    scriptOf: () => ({ tokens: [...byteVocabulary.encode(script), eos] }),
  });
  const loop = new BatchLoop({ runner, vocabulary, prefillChunk: chunkSize });
  async function* outputs() {
    loop.add(0, full);
    while (!loop.idle) {
      for (const event of await loop.step()) {
        if (event.type === 'output') yield event.output;
        if (event.type === 'failed') throw event.error;
      }
    }
  }
  return { runner, outputs };
}

async function run(setting: Setting) {
  const { runner, outputs } = start(setting);
  const all: EngineOutput[] = [];
  for await (const output of outputs()) all.push(output);
  const tokenOutputs = all.filter((output) => output.kind === 'tokens');
  const promptOutputs = all.filter((output) => output.kind === 'prompt');
  return {
    all,
    promptOutputs,
    steps: runner.steps.length,
    tokens: tokenOutputs.flatMap(({ tokens }) => tokens),
    pieces: tokenOutputs.map(({ text }) => text),
    text: tokenOutputs.map(({ text }) => text).join(''),
    finish: tokenOutputs.map(({ finish }) => finish),
    prompt: promptOutputs.flatMap<TokenLogprob>(({ logprobs }) => logprobs),
  };
}

describe('a grammar', () => {
  const schema = { type: 'object', properties: { a: { enum: ['END', 'é'] } }, required: ['a'] };
  const grammar = { type: 'json_schema' as const, schema };

  it('ends the sequence where its text does, whatever the model would say and min_tokens asks for', async () => {
    for (const min_tokens of [0, 90]) {
      const { text, tokens, finish } = await run({ sampling: { grammar, min_tokens } });
      expect(['END', 'é']).toContain(JSON.parse(text).a);
      expect([tokens.at(-1), finish.at(-1)]).toEqual([eos, 'stop']);
    }
  });

  it('leaves bias, log-probabilities, max_tokens and stop strings what they are', async () => {
    const [quote, space] = byteVocabulary.encode('" ');
    const sampling = { grammar, logprobs: 1, logit_bias: { [String(space)]: 100, [String(quote)]: -100 } };
    const biased = await run({ sampling });
    expect(biased.text).toMatch(/^\{"a": "/);
    const likely = biased.all.flatMap((output) => (output.kind === 'tokens' ? (output.logprobs ?? []) : []));
    // The model's own, which the grammar and the bias do not change.
    expect(likely[0]).toMatchObject({
      token: byteVocabulary.encode('{')[0],
      top: [[byteVocabulary.encode('n')[0], expect.any(Number)]],
    });
    const cut = await run({ sampling: { grammar, max_tokens: 4 } });
    expect([cut.text, cut.finish.at(-1)]).toEqual(['{"a"', 'length']);
    expect((await run({ sampling: { grammar, stop: ['"a"'] } })).text).toBe('{');
  });

  it('ends a sequence of a model that has no token for the end', async () => {
    const { text, finish } = await run({
      sampling: { grammar },
      vocabulary: { ...byteVocabulary, eosTokenIds: [] },
    });
    expect([JSON.parse(text).a === '', finish.at(-1)]).toEqual([false, 'stop']);
  });

  it("refuses a replay of another grammar's tokens", async () => {
    const replay = byteVocabulary.encode('[');
    await expect(run({ sampling: { grammar }, request: { replay } })).rejects.toThrow(ServerError);
  });
});

describe('the end of a sequence', () => {
  it('is its end-of-sequence token', async () => {
    const { text, tokens, finish } = await run({});
    expect(text).toBe('naïve 👩‍👩‍👧 END');
    expect(tokens).toEqual([...byteVocabulary.encode(text), eos]);
    expect(finish.slice(0, -1)).toEqual(tokens.slice(0, -1).map(() => undefined));
    expect(finish.at(-1)).toBe('stop');
  });

  it('is max_tokens, with what is held back of a character as U+FFFD', async () => {
    const { text, tokens, finish } = await run({ sampling: { max_tokens: 3 } });
    expect([text, tokens.length, finish.at(-1)]).toEqual(['na\ufffd', 3, 'length']);
  });

  it('is the end of the context', async () => {
    const { tokens, finish } = await run({ contextLength: prompt.length + 5 });
    expect([tokens.length, finish.at(-1)]).toEqual([5, 'length']);
    const full = await run({ contextLength: prompt.length });
    expect(full.all).toEqual([{ kind: 'tokens', tokens: [], text: '', finish: 'length' }]);
  });

  it('is a stop string, of which nothing comes out', async () => {
    const { text, pieces, tokens, finish } = await run({ sampling: { stop: ['ve 👩', 'END'] } });
    expect([text, finish.at(-1)]).toEqual(['naï', 'stop']);
    expect(pieces.every((piece) => 'naï'.includes(piece))).toBe(true);
    expect(tokens).toEqual(byteVocabulary.encode('naïve 👩'));
  });

  it('brings out what was held back for a stop string that did not come', async () => {
    const { text, pieces, finish } = await run({ sampling: { stop: ['ENDE'] } });
    expect([text, pieces.at(-1), finish.at(-1)]).toEqual(['naïve 👩‍👩‍👧 END', 'END', 'stop']);
  });

  it('is not before min_tokens', async () => {
    const tokens = byteVocabulary.encode('one END two END').length;
    const setting = (min_tokens: number) => ({
      script: 'one END two END',
      sampling: { stop: ['END'], min_tokens },
    });
    expect((await run(setting(7))).text).toBe('one ');
    expect((await run(setting(8))).text).toBe('one END two ');
    const beyond = await run(setting(tokens + 3));
    expect(beyond.tokens.slice(0, tokens + 3)).not.toContain(eos);
    expect(beyond.tokens.length).toBeGreaterThan(tokens + 2);
  });

  it('is not the end-of-sequence token where that is ignored', async () => {
    const { text, tokens, finish } = await run({
      script: 'ab',
      sampling: { ignore_eos: true, max_tokens: 8 },
    });
    expect(tokens).toEqual([
      ...byteVocabulary.encode('ab'),
      eos,
      ...byteVocabulary.encode('ab'),
      eos,
      ...byteVocabulary.encode('ab'),
    ]);
    expect([text, finish.at(-1)]).toEqual(['ababab', 'length']);
  });
});

describe('replay', () => {
  it('goes on from any token as if nothing had happened', async () => {
    const script = fc.string({
      unit: fc.constantFrom('a', 'b', 'é', '猫', '👩', ' '),
      minLength: 1,
      maxLength: 12,
    });
    const stop = fc.string({ unit: fc.constantFrom('a', 'b', 'é', ' '), minLength: 1, maxLength: 3 });
    const settings = fc.record({
      script,
      chunkSize: fc.constantFrom(1, 3, 256),
      sampling: fc.record({
        stop: fc.array(stop, { maxLength: 2 }),
        max_tokens: fc.integer({ min: 1, max: 40 }),
        min_tokens: fc.nat(10),
        ignore_eos: fc.boolean(),
        temperature: fc.constantFrom(0, 2),
        frequency_penalty: fc.constantFrom(0, 2),
        logprobs: fc.constantFrom(null, 2),
      }),
    });
    await fc.assert(
      fc.asyncProperty(settings, async (setting) => {
        const whole = await run(setting);
        for (let count = 0; count <= whole.tokens.length; count++) {
          const replay = whole.tokens.slice(0, count);
          const replayTextLength = whole.pieces.slice(0, count).join('').length;
          const rest = await run({ ...setting, request: { replay, replayTextLength } });
          const expected = whole.all.slice(count);
          if (expected.length === 0) {
            expected.push({ kind: 'tokens', tokens: [], text: '', finish: whole.finish.at(-1) ?? 'length' });
          }
          expect(rest.all).toEqual(expected);
        }
      }),
      { numRuns: 60 },
    );
  });

  it('gives the text of replayed tokens that is not logged yet, and no more', async () => {
    const sampling = { stop: ['ENDE'], max_tokens: 30 };
    const whole = await run({ sampling });
    for (const count of [0, 5, whole.tokens.length]) {
      const replay = whole.tokens.slice(0, count);
      const certain = whole.pieces.slice(0, count).join('').length;
      for (let replayTextLength = 0; replayTextLength <= certain; replayTextLength++) {
        const rest = await run({ sampling, request: { replay, replayTextLength } });
        expect(rest.text).toBe(whole.text.slice(replayTextLength));
      }
    }
  });

  it('runs no step where it already ends the sequence', async () => {
    const replay = [...byteVocabulary.encode('ab'), eos];
    expect((await run({ script: 'ab', request: { replay } })).steps).toBe(0);
  });

  it('is refused where it goes on after the end', async () => {
    await expect(run({ request: { replay: [eos, 5] } })).rejects.toThrow(ServerError);
    await expect(run({ sampling: { max_tokens: 1 }, request: { replay: [5, 6] } })).rejects.toThrow(
      ServerError,
    );
  });
});

describe('prompt log-probabilities', () => {
  it('are the same whatever the chunks, and wherever they begin', async () => {
    const sampling = { prompt_logprobs: 2, max_tokens: 4 };
    const whole = await run({ sampling });
    expect(whole.promptOutputs).toHaveLength(1);
    expect(whole.prompt.map(({ token }) => token)).toEqual(prompt);
    expect(whole.prompt[0]).toEqual({ token: prompt[0], logprob: null, top: [] });
    expect(
      whole.prompt.slice(1).every(({ logprob, top }) => logprob !== null && logprob < 0 && top.length === 2),
    ).toBe(true);
    for (const chunkSize of [1, 2, 7, prompt.length - 1, prompt.length]) {
      for (const promptLogprobsFrom of [0, 1, 2, 8, prompt.length - 1, prompt.length]) {
        for (const replay of [[], whole.tokens.slice(0, 2), whole.tokens]) {
          const run2 = await run({ sampling, chunkSize, request: { promptLogprobsFrom, replay } });
          expect(run2.prompt).toEqual(whole.prompt.slice(promptLogprobsFrom));
          let next = promptLogprobsFrom;
          for (const { from, logprobs } of run2.promptOutputs) {
            expect(from).toBe(next);
            next += logprobs.length;
          }
          expect([...replay, ...run2.tokens]).toEqual(whole.tokens);
        }
      }
    }
  });

  it('are all there is for max_tokens 0', async () => {
    for (const tokens of [prompt, otherPrompt]) {
      const { all } = await run({
        sampling: { prompt_logprobs: 0, max_tokens: 0 },
        request: { prompt: tokens },
      });
      expect(all.map(({ kind }) => kind)).toEqual(['prompt', 'tokens']);
      expect(all.at(-1)).toEqual({ kind: 'tokens', tokens: [], text: '', finish: 'length' });
    }
    expect((await run({ sampling: { max_tokens: 0 } })).steps).toBe(0);
  });
});

describe('refuses a prompt', () => {
  it.each<[string, number[], string]>([
    ['without tokens', [], 'invalid_value'],
    ['longer than the context', new Array(513).fill(5), 'context_length_exceeded'],
    ['with a token beyond the vocabulary', [1, byteVocabulary.size], 'invalid_value'],
    ['with a negative token', [-1], 'invalid_value'],
  ])('%s', async (_, tokens, code) => {
    const error = await run({ request: { prompt: tokens } }).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(RequestError);
    expect(error).toMatchObject({ code, param: 'prompt' });
  });
});
