import { loadTokenizer } from '@baton/hymba/tokenizer';
import type { TokenLogprob } from '@baton/protocol';
import { exampleJob } from '@baton/protocol/testing';
import { describe, expect, it } from 'vitest';
import { LogScript, modelDir } from '../testing/log-script.ts';
import { type CompletionEcho, completion, completionChunks, completionUsageChunk } from './completions.ts';

const names = await loadTokenizer(modelDir);
const head = { id: 'cmpl-1', created: 1_700_000_000, model: 'hymba' };

const promptText = 'Hello é 🙂 world';
const prompt = names.encode(promptText);
const output = names.encode(' again', { addSpecialTokens: false });
const echoed: CompletionEcho = { prompt_text: promptText };
const job = exampleJob({ prompt, echo: echoed, sampling: { logprobs: 1, prompt_logprobs: 1 } });
const logprob = (token: number, i: number): TokenLogprob => ({
  token,
  logprob: i === 0 ? null : -i,
  top: i === 0 ? [] : [[40, -0.25]],
});

const log = new LogScript(job)
  .queued()
  .claimed()
  .prompt(0, prompt.slice(0, 5).map(logprob))
  .claimed()
  .prompt(
    5,
    prompt.slice(5).map((token, i) => logprob(token, i + 5)),
  )
  .tokens(
    output,
    ' again',
    output.map((token) => logprob(token, 1)),
  )
  .finish('length', output.length);

describe('completion with echo and logprobs', () => {
  const [choice] = completion(head, [log.state], names, 1).choices;

  it('begins with the prompt', () => {
    expect(choice?.text).toBe(`${promptText} again`);
  });

  it('scores every token but the first, which nothing predicts', () => {
    const { tokens, token_logprobs, top_logprobs } = choice?.logprobs ?? {};
    expect(tokens).toHaveLength(prompt.length + output.length);
    expect(tokens?.slice(0, 3)).toEqual(['<s>', 'H', 'ell']);
    expect(token_logprobs?.slice(0, 3)).toEqual([null, -1, -2]);
    expect(top_logprobs?.[0]).toBeNull();
    expect(top_logprobs?.[1]).toEqual({ [names.tokenText(40)]: -0.25, H: -1 });
  });

  it('says where each token begins in the text, by character', () => {
    const characters = [...`${promptText} again`];
    const { tokens = [], text_offset = [] } = choice?.logprobs ?? {};
    expect(text_offset).toHaveLength(tokens.length);
    for (const [i, token] of tokens.entries()) {
      const partial = token.includes('\uFFFD') || token === '<s>';
      const at = text_offset[i] ?? 0;
      if (!partial) expect(characters.slice(at, at + [...token].length).join('')).toBe(token);
    }
    expect(text_offset.slice(0, 2)).toEqual([0, 0]);
    // The four bytes of the emoji are one character.
    const emoji = characters.indexOf('🙂');
    expect(text_offset.filter((at) => at === emoji)).toHaveLength(4);
  });

  it('says the same in pieces', () => {
    const fold = completionChunks(head, 0, names, false);
    const pieces = log.entries.flatMap(fold).flatMap(({ choices }) => choices);
    const joined = <K extends 'tokens' | 'token_logprobs' | 'top_logprobs' | 'text_offset'>(key: K) =>
      pieces.flatMap(({ logprobs }): unknown[] => logprobs?.[key] ?? []);
    expect(pieces.map(({ text }) => text).join('')).toBe(choice?.text);
    for (const key of ['tokens', 'token_logprobs', 'top_logprobs', 'text_offset'] as const) {
      expect(joined(key)).toEqual(choice?.logprobs?.[key]);
    }
    expect(pieces.at(-1)?.finish_reason).toBe('length');
  });
});

describe('completion without echo', () => {
  const plain = exampleJob({ echo: { prompt_text: '' } satisfies CompletionEcho });
  const script = () => new LogScript(plain).queued().claimed().tokens(output, ' again').finish('stop', 3);

  it('is the output alone', () => {
    expect(completion(head, [script().state], names, 1)).toMatchObject({
      object: 'text_completion',
      choices: [{ index: 0, text: ' again', logprobs: null, finish_reason: 'stop' }],
      usage: { prompt_tokens: 3, completion_tokens: 3 },
    });
  });

  it('counts each prompt once in usage, however many choices it has', () => {
    const states = [script(), script(), script(), script()].map(({ state }) => state);
    expect(completionUsageChunk(head, states, 2).usage).toMatchObject({
      prompt_tokens: 6,
      completion_tokens: 12,
      total_tokens: 18,
    });
  });
});
