import { FencedError, RequestError } from '@baton/errors';
import { newId } from '@baton/protocol';
import { startTestNats, type TestServer } from '@baton/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { claim, finishEntry, newJob, tokenEntry } from './test-support.ts';
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

describe('claim', () => {
  it('appends entry 0 where it is missing, then the claim', async () => {
    const { job, state } = await claim(log);
    expect(state).toMatchObject({ job, epoch: 1, nextSequenceNumber: 1, terminal: null });
    expect(await log.read(job.id)).toEqual(state);
  });

  it('gives what earlier owners wrote and goes on after it', async () => {
    const { job, writer } = await claim(log);
    await writer.append(tokenEntry(7, 8));
    const second = await claim(log, job, 'w2');
    expect(second.state).toMatchObject({ epoch: 2, tokens: [7, 8], nextSequenceNumber: 2 });
    await second.writer.append(tokenEntry(9));
    expect(await log.read(job.id)).toMatchObject({ tokens: [7, 8, 9], text: ' t7 t8 t9', epoch: 2 });
  });

  it('does not claim what has ended', async () => {
    const { job, writer } = await claim(log);
    await writer.append(finishEntry);
    const again = await log.claim(job, 'w2');
    expect(again).toMatchObject({ writer: null, state: { epoch: 1, terminal: { reason: 'stop' } } });
    expect((await log.read(job.id))?.epoch).toBe(1);
  });

  it('gives every claimer an epoch of its own, also the same worker twice at once', async () => {
    const job = newJob();
    await log.appendQueued(job);
    const claims = await Promise.all(Array.from({ length: 8 }, () => claim(log, job, 'w1')));
    expect(claims.map(({ writer }) => writer.epoch).toSorted()).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
    const written = await Promise.allSettled(
      claims.map(({ writer }) => writer.append(tokenEntry(writer.epoch))),
    );
    expect(written.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    expect(await log.read(job.id)).toMatchObject({ epoch: 8, tokens: [8] });
  });
});

describe('appendQueued', () => {
  it('appends entry 0 once, whoever comes first', async () => {
    const job = newJob();
    await Promise.all([log.appendQueued(job), log.appendQueued(job), claim(log, job)]);
    await log.appendQueued(job);
    expect(await log.read(job.id)).toMatchObject({ job, epoch: 1, nextSequenceNumber: 1 });
  });

  it('refuses a job that NATS does not take, naming the limit', async () => {
    const job = { ...newJob(), echo: { input: 'x'.repeat(1_100_000) } };
    await expect(log.appendQueued(job)).rejects.toThrow(RequestError);
    await expect(log.appendQueued(job)).rejects.toThrow('max_payload');
    expect(await log.read(job.id)).toBeNull();
  });
});

describe('requestCancel', () => {
  it('reaches a generation that is queued', async () => {
    const job = newJob();
    await log.appendQueued(job);
    expect(await log.requestCancel(job.id)).toBe('requested');
    const { state, writer } = await claim(log, job);
    expect(state.cancelRequested).toBe(true);
    expect(writer.cancelled.aborted).toBe(true);
  });

  it('reaches a running one at its next append, which is stored', async () => {
    const { job, writer } = await claim(log);
    expect(await log.requestCancel(job.id)).toBe('requested');
    expect(await log.requestCancel(job.id)).toBe('requested');
    await writer.append(tokenEntry(7));
    expect(writer.cancelled.aborted).toBe(true);
    await writer.append({ ...finishEntry, reason: 'cancelled' });
    expect(await log.read(job.id)).toMatchObject({ tokens: [7], terminal: { reason: 'cancelled' } });
  });

  it('finds its way between the appends of a busy owner', async () => {
    const { writer, job } = await claim(log);
    let token = 0;
    const busy = (async () => {
      while (!writer.cancelled.aborted) await writer.append(tokenEntry(token++));
    })();
    expect(await log.requestCancel(job.id)).toBe('requested');
    await busy;
    expect((await log.read(job.id))?.tokens).toEqual(Array.from({ length: token }, (_, i) => i));
  });

  it('tells what has ended and what nobody knows', async () => {
    const { job, writer } = await claim(log);
    await writer.append(finishEntry);
    expect(await log.requestCancel(job.id)).toBe('finished');
    expect(await log.requestCancel(newId('resp', 'default'))).toBe('unknown');
  });
});

describe('appendError', () => {
  const error = { code: 'server_error', message: 'claimed 5 times' } as const;

  it('ends a generation and fences its owner', async () => {
    const { job, writer } = await claim(log);
    await writer.append(tokenEntry(7));
    expect(await log.appendError(job.id, error, 'sweeper')).toBe('appended');
    expect(await log.read(job.id)).toMatchObject({ epoch: 2, tokens: [7], terminal: { ...error, epoch: 2 } });
    await expect(writer.append(tokenEntry(8))).rejects.toThrow(FencedError);
  });

  it('leaves alone what has ended and what nobody knows', async () => {
    const { job, writer } = await claim(log);
    await writer.append(finishEntry);
    expect(await log.appendError(job.id, error, 'sweeper')).toBe('finished');
    expect((await log.read(job.id))?.terminal?.kind).toBe('finish');
    expect(await log.appendError(newId('resp', 'default'), error, 'sweeper')).toBe('unknown');
  });
});

describe('follow', () => {
  it('leaves a claim nothing to read, and changes nothing of what it says', async () => {
    const job = newJob();
    await log.appendQueued(job);
    const { writer } = await log.claim(job, 'former');
    await writer?.append({ kind: 'tokens', tokens: [1], text: 'a' });
    const followed = await log.follow(job.id);
    expect(followed.state.tokens).toEqual([1]);
    await writer?.append({ kind: 'tokens', tokens: [2], text: 'b' });
    for await (const { kind } of followed.entries()) {
      expect(kind).toBe('tokens');
      break;
    }
    expect(followed.state.tokens).toEqual([1, 2]);
    // What comes after it was looked at last, the claim meets.
    await writer?.append({ kind: 'tokens', tokens: [3], text: 'c' });
    const { state } = await log.claim(job, 'next', { followed });
    expect(state).toMatchObject({ epoch: 2, owner: 'next', tokens: [1, 2, 3], text: 'abc' });
    expect(await log.read(job.id)).toEqual(state);
    await expect(writer?.append({ kind: 'tokens', tokens: [4], text: 'd' })).rejects.toThrow(FencedError);
  });

  it('leaves a generation to whoever has claimed it since the log was read', async () => {
    const { job, writer: former } = await claim(log);
    const followed = await log.follow(job.id);
    await former.append({ kind: 'released' });
    const { writer: other } = await claim(log, job, 'other');
    const late = await log.claim(job, 'late', { followed });
    expect(late).toMatchObject({ writer: null, state: { epoch: 2, owner: 'other', terminal: null } });
    await other.append(tokenEntry(7));
    expect(await log.read(job.id)).toMatchObject({ epoch: 2, tokens: [7] });
  });
});
