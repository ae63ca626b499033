import type { TokenLogprob, WorkerEntry } from '@baton/protocol';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { mergeEntries, splitEntry } from './split-entry.ts';

const logprob = (token: number): TokenLogprob => ({ token, logprob: -1, top: [[token, -1]] });
const tokens = (ids: number[], text: string, withLogprobs = false): WorkerEntry => ({
  kind: 'tokens',
  tokens: ids,
  text,
  ...(withLogprobs && { logprobs: ids.map(logprob) }),
});

/** What a reader has after all of `entries`. */
function said(entries: WorkerEntry[]) {
  const state = { tokens: [] as number[], text: '', logprobs: [] as TokenLogprob[] };
  for (const entry of entries) {
    if (entry.kind === 'tokens') {
      state.tokens.push(...entry.tokens);
      state.text += entry.text;
      state.logprobs.push(...(entry.logprobs ?? []));
    } else if (entry.kind === 'prompt') {
      expect(entry.from).toBe(state.logprobs.length);
      state.logprobs.push(...entry.logprobs);
    }
  }
  return state;
}

describe('mergeEntries', () => {
  it('joins tokens, text and log-probabilities in order', () => {
    expect(mergeEntries(tokens([1], 'a', true), tokens([2], 'b', true))).toEqual(tokens([1, 2], 'ab', true));
    expect(mergeEntries(tokens([1], 'a'), tokens([], 'b'))).toEqual(tokens([1], 'ab'));
    expect(mergeEntries(tokens([], 'a'), tokens([2], '', true))).toEqual({
      ...tokens([2], 'a', true),
    });
  });

  it('joins scores of prompt tokens', () => {
    const prompt = (from: number, ...ids: number[]): WorkerEntry => ({
      kind: 'prompt',
      from,
      logprobs: ids.map(logprob),
    });
    expect(mergeEntries(prompt(0, 1, 2), prompt(2, 3))).toEqual(prompt(0, 1, 2, 3));
    expect(mergeEntries(prompt(0, 1), tokens([2], 'b'))).toBeNull();
  });

  it('keeps apart what one entry cannot say', () => {
    expect(mergeEntries(tokens([1], 'a', true), tokens([2], 'b'))).toBeNull();
    expect(mergeEntries(tokens([1], 'a'), { kind: 'error', code: 'server_error', message: 'no' })).toBeNull();
  });
});

describe('splitEntry', () => {
  it('keeps every part below the limit and says the same', () => {
    const anyTokens = fc
      .record({
        ids: fc.array(fc.nat(40_000), { minLength: 1, maxLength: 60 }),
        text: fc.string({ unit: 'grapheme', maxLength: 400 }),
        scored: fc.boolean(),
      })
      .map(({ ids, text, scored }) => tokens(ids, text, scored));
    const anyPrompt = fc
      .array(fc.nat(40_000), { minLength: 1, maxLength: 60 })
      .map((ids): WorkerEntry => ({ kind: 'prompt', from: 0, logprobs: ids.map(logprob) }));
    fc.assert(
      fc.property(fc.oneof(anyTokens, anyPrompt), fc.integer({ min: 300, max: 2000 }), (entry, limit) => {
        const parts = splitEntry(entry, limit);
        expect(said(parts)).toEqual(said([entry]));
        for (const part of parts) {
          expect(Buffer.byteLength(JSON.stringify(part))).toBeLessThanOrEqual(limit);
          // A half of a surrogate pair would not survive UTF-8.
          if (part.kind === 'tokens') expect(part.text.isWellFormed()).toBe(true);
          if (part.kind === 'tokens') expect(part.tokens.length + part.text.length).toBeGreaterThan(0);
        }
      }),
    );
  });

  it('leaves a small entry and one that cannot be cut as they are', () => {
    const finish: WorkerEntry = {
      kind: 'finish',
      reason: 'stop',
      usage: { prompt_tokens: 1, cached_tokens: 0, completion_tokens: 1 },
    };
    expect(splitEntry(finish, 10)).toEqual([finish]);
    expect(splitEntry(tokens([1, 2], 'ab'), 1000)).toEqual([tokens([1, 2], 'ab')]);
  });
});
