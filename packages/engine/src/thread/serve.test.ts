import { on } from 'node:events';
import { MessageChannel } from 'node:worker_threads';
import { exampleJob } from '@baton/protocol/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { EngineRequest } from '../engine.ts';
import { byteVocabulary } from '../testing/byte-vocabulary.ts';
import { ScriptedRunner } from '../testing/scripted-runner.ts';
import type { FromThread, ToThread } from './messages.ts';
import { serve } from './serve.ts';

const prompt = [1, 5];
const request = (max_tokens: number, tokens = prompt): EngineRequest => ({
  id: 'resp_0',
  prompt: tokens,
  replay: [],
  replayTextLength: 0,
  promptLogprobsFrom: 0,
  sampling: exampleJob({ sampling: { max_tokens, ignore_eos: true } }).sampling,
});

describe('serve', () => {
  let channel: MessageChannel;
  let runner: ScriptedRunner;
  let served: Promise<void>;
  const send = (message: ToThread) => channel.port2.postMessage(message);

  beforeEach(() => {
    channel = new MessageChannel();
    runner = new ScriptedRunner({
      model: { fingerprint: '', vocabularySize: byteVocabulary.size, contextLength: 100_000 },
      promptLength: prompt.length,
      tokens: byteVocabulary.encode('ab'),
      stepMs: 0,
      beforeToken: () => {},
    });
    served = serve(channel.port1, { runner, vocabulary: byteVocabulary });
  });
  afterEach(async () => {
    send({ type: 'close' });
    await served;
  });

  /** Messages from the thread, until one for which `last` holds. */
  async function messages(last: (message: FromThread) => boolean): Promise<FromThread[]> {
    const seen: FromThread[] = [];
    for await (const [message] of on(channel.port2, 'message')) {
      seen.push(message);
      if (last(message)) return seen;
    }
    throw new Error('the port was closed');
  }
  const endOf = (run: number) => (message: FromThread) => message.type === 'ended' && message.run === run;

  it('runs sequences first in, first out', async () => {
    for (const run of [0, 1, 2]) send({ type: 'generate', run, request: request(3) });
    const seen = await messages(endOf(2));
    expect(seen.map((message) => ('run' in message ? message.run : null))).toEqual([
      0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2,
    ]);
  });

  it('frees the slot of an aborted sequence within a step, and never starts one that waits', async () => {
    send({ type: 'generate', run: 0, request: request(50_000) });
    send({ type: 'generate', run: 1, request: request(50_000) });
    send({ type: 'generate', run: 2, request: request(3) });
    const aborted = on(channel.port2, 'message');
    await aborted.next();
    send({ type: 'abort', run: 1 });
    send({ type: 'abort', run: 0 });
    const seen = await messages(endOf(2));
    expect(seen.filter((message) => message.type === 'output' && message.run === 1)).toEqual([]);
    expect(seen.filter((message) => message.type === 'output' && message.run === 2)).toHaveLength(3);
    // 50,000 steps would have been run had the abort not been seen between two of them.
    expect(runner.steps).toBeLessThan(100);
  });

  it('sends the failure of one sequence and goes on with the next', async () => {
    send({ type: 'generate', run: 0, request: request(3, [-1]) });
    send({ type: 'generate', run: 1, request: request(3) });
    const [first, ...rest] = await messages(endOf(1));
    expect(first).toMatchObject({ type: 'failed', run: 0, failure: { type: 'request', param: 'prompt' } });
    expect(rest).toHaveLength(4);
  });

  it('ends with close, even in the middle of a sequence', async () => {
    send({ type: 'generate', run: 0, request: request(50_000) });
    await messages((message) => message.type === 'output');
    send({ type: 'close' });
    await served;
    expect(runner.steps).toBeLessThan(100);
  });
});
