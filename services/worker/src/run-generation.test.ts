import type { Engine } from '@baton/engine';
import { ScriptedEngine } from '@baton/engine/testing';
import { EngineDiedError, FencedError, ServerError } from '@baton/errors';
import { TokenLog } from '@baton/log';
import { type GenerationJob, type LogState, newId } from '@baton/protocol';
import { exampleJob } from '@baton/protocol/testing';
import { startTestNats, type TestServer } from '@baton/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { runGeneration } from './run-generation.ts';

describe('runGeneration', () => {
  let nats: TestServer;
  let log: TokenLog;
  beforeAll(async () => {
    nats = await startTestNats();
    log = await TokenLog.open(nats.url);
  });
  afterAll(async () => {
    await log?.close();
    await nats?.stop();
  });

  const never = new AbortController().signal;
  const newJob = () => exampleJob({ id: newId('resp'), sampling: { max_tokens: 500 } });
  const run = (job: GenerationJob, engine: Engine, { signal = never, workerId = 'worker-1' } = {}) =>
    runGeneration(job, signal, { log, engine, workerId });

  async function stateOf({ id }: GenerationJob): Promise<LogState> {
    const state = await log.read(id);
    if (state === null) throw new Error(`${id} has no log`);
    return state;
  }

  /** Resolves when the log holds at least `count` output tokens. */
  async function tokensLogged({ id }: GenerationJob, count: number): Promise<void> {
    const feed = await log.subscribe(id);
    for await (const _ of feed.entries()) if (feed.state.tokens.length >= count) return;
  }

  /** The undisturbed run every other one is compared with. */
  async function undisturbed(): Promise<LogState> {
    const job = newJob();
    await run(job, new ScriptedEngine());
    return stateOf(job);
  }

  it('writes a generation from its claim to its end', async () => {
    const { epoch, tokens, text, terminal } = await undisturbed();
    expect(epoch).toBe(1);
    expect(text.split(' ')).toHaveLength(20);
    expect(terminal).toMatchObject({
      kind: 'finish',
      reason: 'stop',
      usage: { prompt_tokens: 3, cached_tokens: 0, completion_tokens: tokens.length },
    });
  });

  it('leaves a generation alone that has ended', async () => {
    const job = newJob();
    await run(job, new ScriptedEngine());
    const before = await stateOf(job);
    await run(job, new ScriptedEngine());
    expect(await stateOf(job)).toEqual(before);
  });

  it('ends a failed generation with its error, and tells the queue', async () => {
    const job = newJob();
    const engine = new ScriptedEngine({ failure: (position) => (position === 4 ? 'throw' : undefined) });
    await expect(run(job, engine)).rejects.toThrow(ServerError);
    const { tokens, terminal } = await stateOf(job);
    expect(tokens).toHaveLength(4);
    expect(terminal).toMatchObject({ kind: 'error', code: 'server_error' });
  });

  it('leaves the end open when the engine dies, and another worker goes on with the same text', async () => {
    const job = newJob();
    const dying = new ScriptedEngine({ stepMs: 5 });
    const died = expect(run(job, dying)).rejects.toThrow(EngineDiedError);
    await tokensLogged(job, 3);
    await dying.close();
    await died;
    expect((await stateOf(job)).terminal).toBeNull();

    await run(job, new ScriptedEngine(), { workerId: 'worker-2' });
    const { epoch, tokens, text } = await stateOf(job);
    const expected = await undisturbed();
    expect({ epoch, tokens, text }).toEqual({ epoch: 2, tokens: expected.tokens, text: expected.text });
  });

  it('hands a generation on when it is told to stop, at a token boundary', async () => {
    const job = newJob();
    const drain = new AbortController();
    const stopped = run(job, new ScriptedEngine({ stepMs: 5 }), { signal: drain.signal });
    await tokensLogged(job, 3);
    const reason = new Error('draining');
    drain.abort(reason);
    await expect(stopped).rejects.toBe(reason);
    expect((await stateOf(job)).terminal).toBeNull();

    await run(job, new ScriptedEngine());
    const [{ tokens, text, terminal }, expected] = [await stateOf(job), await undisturbed()];
    expect({ tokens, text, usage: terminal?.kind === 'finish' && terminal.usage }).toEqual({
      tokens: expected.tokens,
      text: expected.text,
      usage: { prompt_tokens: 3, cached_tokens: 0, completion_tokens: expected.tokens.length },
    });
  });

  it('stops at a cancel, also one that came before it', async () => {
    const job = newJob();
    const running = run(job, new ScriptedEngine({ stepMs: 5 }));
    await tokensLogged(job, 2);
    await log.requestCancel(job.id);
    await running;
    const cancelled = await stateOf(job);
    expect(cancelled.terminal).toMatchObject({ kind: 'finish', reason: 'cancelled' });
    expect(cancelled.tokens.length).toBeLessThan((await undisturbed()).tokens.length);

    const queued = newJob();
    await log.appendQueued(queued);
    await log.requestCancel(queued.id);
    await run(queued, new ScriptedEngine());
    expect(await stateOf(queued)).toMatchObject({ tokens: [], terminal: { reason: 'cancelled' } });
  });

  it('adds nothing once another worker has claimed', async () => {
    const job = newJob();
    const former = expect(run(job, new ScriptedEngine({ stepMs: 5 }))).rejects.toThrow(FencedError);
    await tokensLogged(job, 2);
    await log.claim(job, 'worker-2');
    const taken = await stateOf(job);
    await former;
    expect(await stateOf(job)).toEqual(taken);
  });
});
