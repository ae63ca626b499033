import type { Engine } from '@baton/engine';
import { ScriptedEngine } from '@baton/engine/testing';
import { FencedError, QueueTimeoutError, ServerError } from '@baton/errors';
import { exampleJob } from '@baton/protocol/testing';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { never, newJob, TestBench } from './test-bench.ts';

describe('runGeneration', () => {
  let bench: TestBench;
  beforeAll(async () => {
    bench = await TestBench.start();
  });
  afterAll(() => bench.stop());

  it('writes a generation from its claim to its end', async () => {
    const { epoch, tokens, text, terminal } = await bench.undisturbed();
    expect(epoch).toBe(1);
    expect(text.split(' ')).toHaveLength(20);
    expect(terminal).toMatchObject({
      kind: 'finish',
      reason: 'stop',
      usage: { prompt_tokens: 3, cached_tokens: 0, completion_tokens: tokens.length },
    });
  });

  it('does not begin what nobody waits for any more, and goes on with what was begun in time', async () => {
    const late = { ...newJob(), start_by: Date.now() - 1 };
    await expect(bench.run(late, new ScriptedEngine())).rejects.toThrow(QueueTimeoutError);
    expect(await bench.stateOf(late)).toMatchObject({
      tokens: [],
      terminal: { kind: 'error', code: 'queue_timeout' },
    });

    const begun = { ...newJob(), start_by: Date.now() - 1 };
    await bench.log.claim(begun, 'worker-0');
    await bench.run(begun, new ScriptedEngine());
    expect((await bench.stateOf(begun)).terminal).toMatchObject({ kind: 'finish' });
  });

  it('goes on however often its own process has begun it, and not where others were lost as often', async () => {
    const [own, others] = [newJob(), newJob()];
    for (const process of ['p1', 'p2', 'p3']) {
      await bench.log.claim(own, 'worker', { process: 'p' });
      await bench.log.claim(others, 'worker', { process });
    }
    await bench.run(own, new ScriptedEngine(), { workerId: 'worker', process: 'p' });
    expect(await bench.stateOf(own)).toMatchObject({ epoch: 4, crashes: 0, terminal: { kind: 'finish' } });
    const givenUp = bench.run(others, new ScriptedEngine(), { workerId: 'worker', process: 'p4' });
    await expect(givenUp).rejects.toThrow('3 workers were lost');
  });

  it('leaves a generation alone that has ended', async () => {
    const job = newJob();
    await bench.run(job, new ScriptedEngine());
    const before = await bench.stateOf(job);
    await bench.run(job, new ScriptedEngine());
    expect(await bench.stateOf(job)).toEqual(before);
  });

  it('ends a failed generation with its error, and tells the queue', async () => {
    const job = newJob();
    const engine = new ScriptedEngine({ failure: (position) => (position === 4 ? 'throw' : undefined) });
    await expect(bench.run(job, engine)).rejects.toThrow(ServerError);
    const { tokens, terminal } = await bench.stateOf(job);
    expect(tokens).toHaveLength(4);
    expect(terminal).toMatchObject({ kind: 'error', code: 'server_error' });
  });

  it('stops at a cancel, also one that came before it', async () => {
    const job = newJob();
    const running = bench.run(job, new ScriptedEngine({ stepMs: 5 }));
    await bench.tokensLogged(job, 2);
    await bench.log.requestCancel(job.id);
    await running;
    const cancelled = await bench.stateOf(job);
    expect(cancelled.terminal).toMatchObject({ kind: 'finish', reason: 'cancelled' });
    expect(cancelled.tokens.length).toBeLessThan((await bench.undisturbed()).tokens.length);

    const queued = newJob();
    await bench.log.appendQueued(queued);
    await bench.log.requestCancel(queued.id);
    await bench.run(queued, new ScriptedEngine());
    expect(await bench.stateOf(queued)).toMatchObject({ tokens: [], terminal: { reason: 'cancelled' } });
  });

  it('adds nothing once another worker has claimed', async () => {
    const job = newJob();
    const former = expect(bench.run(job, new ScriptedEngine({ stepMs: 5 }))).rejects.toThrow(FencedError);
    await bench.tokensLogged(job, 2);
    await bench.log.claim(job, 'worker-2');
    const taken = await bench.stateOf(job);
    await former;
    expect(await bench.stateOf(job)).toEqual(taken);
  });

  /** An engine whose only slot is taken until the test has ended: whatever else it is to run waits. */
  async function occupied(): Promise<Engine> {
    const engine = new ScriptedEngine({ slots: 1, stepMs: 1, contextLength: 1e6 });
    const { id, tenant, prompt, sampling } = exampleJob({ sampling: { max_tokens: 9e5, ignore_eos: true } });
    const request = { id, tenant, prompt, sampling, replay: [], replayTextLength: 0, promptLogprobsFrom: 0 };
    const occupant = engine.generate(request, never);
    await occupant.next();
    onTestFinished(async () => void (await occupant.return()));
    return engine;
  }

  it('stops at a cancel, and once another worker has claimed, before its first token', async () => {
    const engine = await occupied();
    const cancelled = newJob();
    const running = bench.run(cancelled, engine);
    await expect.poll(async () => (await bench.log.read(cancelled.id))?.epoch).toBe(1);
    await bench.log.requestCancel(cancelled.id);
    await running;
    expect(await bench.stateOf(cancelled)).toMatchObject({ tokens: [], terminal: { reason: 'cancelled' } });

    const taken = newJob();
    const former = expect(bench.run(taken, engine)).rejects.toThrow(FencedError);
    await expect.poll(async () => (await bench.log.read(taken.id))?.epoch).toBe(1);
    await bench.log.claim(taken, 'worker-2');
    await former;
  });
});
