import { FencedError, LogCorruptedError } from '@baton/errors';
import { startTestNats, type TestServer } from '@baton/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { claim, finishEntry, tokenEntry } from './test-support.ts';
import { TokenLog } from './token-log.ts';

let nats: TestServer;
let log: TokenLog;
beforeAll(async () => {
  nats = await startTestNats();
  log = await TokenLog.open(nats.url);
});
afterAll(async () => {
  await log.close();
  await nats.stop();
});

describe('LogWriter', () => {
  it('carries what is pushed during a publish in the next entry', async () => {
    const { job, writer } = await claim(log);
    const subscription = await log.subscribe(job.id);
    for (let token = 0; token < 50; token++) writer.push(tokenEntry(token));
    await writer.append(finishEntry);
    const entries = [];
    for await (const entry of subscription.entries()) if (entry.kind === 'tokens') entries.push(entry.tokens);
    // The first push is published at once; the other 49 wait for it, together.
    expect(entries).toEqual([[0], Array.from({ length: 49 }, (_, i) => i + 1)]);
  });

  it('cuts an entry that is larger than NATS takes', async () => {
    const { job, writer } = await claim(log);
    const ids = Array.from({ length: 30_000 }, (_, token) => token);
    const logprobs = ids.map((token) => ({
      token,
      logprob: -0.123456789,
      top: [[token, -0.123456789]] as [number, number][],
    }));
    await writer.append({ kind: 'tokens', tokens: ids, text: 'end', logprobs });
    const state = await log.read(job.id);
    expect(state).toMatchObject({ tokens: ids, text: 'end' });
    expect(state?.tokenLogprobs).toEqual(logprobs);
    expect(state?.nextSequenceNumber).toBeGreaterThan(2);
  });

  it('stops for good once another worker has claimed', async () => {
    const { job, writer } = await claim(log);
    await claim(log, job, 'w2');
    await expect(writer.append(tokenEntry(7))).rejects.toThrow(FencedError);
    expect(writer.lost.reason).toMatchObject({ code: 'fenced', epoch: 1, generationId: job.id });
    expect(() => writer.push(tokenEntry(8))).toThrow(FencedError);
    await expect(writer.flush()).rejects.toThrow(FencedError);
    expect(await log.read(job.id)).toMatchObject({ epoch: 2, tokens: [] });
  });

  it('notices a new owner and a cancel without appending', async () => {
    const { job, writer } = await claim(log);
    await writer.check();
    expect(writer.cancelled.aborted).toBe(false);
    await log.requestCancel(job.id);
    await writer.check();
    expect(writer.cancelled.aborted).toBe(true);
    await claim(log, job, 'w2');
    await expect(writer.check()).rejects.toThrow(FencedError);
  });

  it('lets nothing follow the terminal entry', async () => {
    const { writer } = await claim(log);
    await writer.append(finishEntry);
    expect(() => writer.push(tokenEntry(1))).toThrow(LogCorruptedError);
  });

  it('appends nothing for an output without tokens and text', async () => {
    const { job, writer } = await claim(log);
    await writer.append(tokenEntry());
    expect((await log.read(job.id))?.nextSequenceNumber).toBe(1);
  });
});
