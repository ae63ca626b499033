import { loadTokenizer } from '@baton/hymba/tokenizer';
import { exampleJob } from '@baton/protocol/testing';
import { describe, expect, it } from 'vitest';
import { LogScript, modelDir } from '../testing/log-script.ts';
import { chatChunks, chatCompletion, chatUsageChunk } from './chat.ts';

const names = await loadTokenizer(modelDir);
const head = { id: 'chatcmpl-1', created: 1_700_000_000, model: 'hymba' };
const job = exampleJob({ sampling: { logprobs: 1 }, echo: { tool_calls: null } });
const logprob = (token: number) => ({ token, logprob: -0.5, top: [[token, -0.5]] as [number, number][] });

const log = new LogScript(job)
  .queued()
  .claimed()
  .tokens([77], 'H', [logprob(77)])
  .claimed()
  .tokens([450], 'ell', [logprob(450)])
  .finish('length', 2);

describe('chatChunks', () => {
  const fold = chatChunks(head, 1, names, true);
  const chunks = log.entries.flatMap(fold);

  it('begins with the role, goes on with the text, ends with the reason', () => {
    expect(chunks.map(({ choices }) => choices[0])).toMatchObject([
      { index: 1, delta: { role: 'assistant', content: '' }, finish_reason: null },
      { index: 1, delta: { content: 'H' }, finish_reason: null },
      { index: 1, delta: { content: 'ell' }, finish_reason: null },
      { index: 1, delta: {}, finish_reason: 'length' },
    ]);
    expect(chunks.every((chunk) => chunk.usage === null && chunk.id === head.id)).toBe(true);
  });

  it('names each token with its bytes and its likeliest alternatives', () => {
    expect(chunks[1]?.choices[0]?.logprobs).toEqual({
      content: [
        {
          token: 'H',
          bytes: [72],
          logprob: -0.5,
          top_logprobs: [{ token: 'H', bytes: [72], logprob: -0.5 }],
        },
      ],
      refusal: null,
    });
  });

  it('leaves usage out where nobody asked for it', () => {
    const fold = chatChunks(head, 0, names, false);
    expect(log.entries.flatMap(fold).some((chunk) => 'usage' in chunk)).toBe(false);
  });

  it('counts a prompt once, and the output of every choice', () => {
    expect(chatUsageChunk(head, [log.state, log.state])).toMatchObject({
      choices: [],
      usage: { prompt_tokens: 3, completion_tokens: 4, total_tokens: 7 },
    });
  });
});

describe('chatCompletion', () => {
  it('says at once what the chunks say one by one', () => {
    const answer = chatCompletion(head, [log.state], names);
    const fold = chatChunks(head, 0, names, false);
    const chunks = log.entries.flatMap(fold).flatMap(({ choices }) => choices);
    const [choice] = answer.choices;
    expect(choice?.message.content).toBe(chunks.map(({ delta }) => delta.content ?? '').join(''));
    expect(choice?.logprobs?.content).toEqual(chunks.flatMap(({ logprobs }) => logprobs?.content ?? []));
    expect(choice?.finish_reason).toBe('length');
  });

  it('ends a cancelled choice as stopped', () => {
    const cancelled = new LogScript(job).queued().claimed().finish('cancelled', 0).state;
    expect(chatCompletion(head, [cancelled], names).choices[0]?.finish_reason).toBe('stop');
  });
});
