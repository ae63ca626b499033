import { on, once } from 'node:events';
import { MessageChannel } from 'node:worker_threads';
import { EngineDiedError } from '@baton/errors';
import { exampleJob } from '@baton/protocol/testing';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { BatchLoop } from '../batch/batch-loop.ts';
import type { EngineRequest } from '../engine.ts';
import { byteVocabulary } from '../testing/byte-vocabulary.ts';
import { ScriptedRunner } from '../testing/scripted-runner.ts';
import type { FromThread, ToThread } from './messages.ts';
import { serve } from './serve.ts';
import type { ThreadEvent } from './thread-event.ts';

const prompt = [1, 5];
const request = (max_tokens: number, tokens = prompt): EngineRequest => ({
  id: 'resp_0',
  tenant: 'tenant',
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
      slots: 2,
      scriptOf: () => ({ tokens: byteVocabulary.encode('ab') }),
    });
    served = serve(channel.port1, new BatchLoop({ runner, vocabulary: byteVocabulary }));
  });
  afterEach(async () => {
    send({ type: 'close' });
    await served;
  });

  /** What each message from the thread says, until one event for which `last` holds. */
  async function messages(last: (event: ThreadEvent) => boolean): Promise<(readonly ThreadEvent[])[]> {
    const seen: (readonly ThreadEvent[])[] = [];
    for await (const [message] of on(channel.port2, 'message')) {
      const { events } = message as Extract<FromThread, { type: 'events' }>;
      seen.push(events);
      if (events.some(last)) return seen;
    }
    throw new Error('the port was closed');
  }
  const endOf = (run: number) => (event: ThreadEvent) => event.type === 'ended' && event.run === run;

  it('tells all that a step gave in one message', async () => {
    for (const run of [0, 1]) send({ type: 'generate', run, request: request(3) });
    const seen = await messages(endOf(1));
    const both = seen.filter((events) => new Set(events.map(({ run }) => run)).size === 2);
    expect(both.length).toBeGreaterThan(0);
    expect(seen.flat().filter(({ run }) => run === 0)).toHaveLength(4);
    expect(seen.flat().filter(({ run }) => run === 1)).toHaveLength(4);
  });

  it('frees the slot of an aborted sequence within a step, and never starts one that waits', async () => {
    for (const run of [0, 1, 2]) send({ type: 'generate', run, request: request(50_000) });
    send({ type: 'generate', run: 3, request: request(3) });
    await messages(({ run }) => run === 1);
    for (const run of [2, 1, 0]) send({ type: 'abort', run });
    const seen = (await messages(endOf(3))).flat();
    expect(seen.filter(({ run }) => run === 2)).toEqual([]);
    expect(seen.filter(({ type, run }) => type === 'output' && run === 3)).toHaveLength(3);
    // 50,000 steps would have been run had the abort not been seen between two of them.
    expect(runner.steps.length).toBeLessThan(100);
  });

  it('sends the failure of one sequence and goes on with the others', async () => {
    send({ type: 'generate', run: 0, request: request(3, [-1]) });
    send({ type: 'generate', run: 1, request: request(3) });
    const [first, ...rest] = (await messages(endOf(1))).flat();
    expect(first).toMatchObject({ type: 'failed', run: 0, failure: { type: 'request', param: 'prompt' } });
    expect(rest).toHaveLength(4);
  });

  it('fails, rather than any sequence, once the runner finds the engine dead', async () => {
    vi.spyOn(runner, 'runBatch').mockRejectedValue(new EngineDiedError('the device is lost'));
    const failed = expect(served).rejects.toThrow('the device is lost');
    const told = vi.fn();
    channel.port2.on('message', told);
    for (const run of [0, 1]) send({ type: 'generate', run, request: request(3) });
    await failed;
    served = Promise.resolve();
    channel.port1.close();
    await once(channel.port2, 'close');
    expect(told).not.toHaveBeenCalled();
  });

  it('ends with close, even in the middle of a sequence', async () => {
    send({ type: 'generate', run: 0, request: request(50_000) });
    await messages(({ type }) => type === 'output');
    send({ type: 'close' });
    await served;
    expect(runner.steps.length).toBeLessThan(100);
  });
});
