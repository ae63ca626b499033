import {
  ConfigurationError,
  DependencyError,
  FencedError,
  LogCorruptedError,
  NotFoundError,
  RequestError,
} from '@baton/errors';
import { logStream, logSubject, newId } from '@baton/protocol';
import { startTestNats, type TestServer } from '@baton/testing';
import { jetstream, jetstreamManager } from '@nats-io/jetstream';
import { headers } from '@nats-io/transport-node';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { connectNats } from './nats-connection.ts';
import { finishEntry, newJob, tokenEntry } from './test-support.ts';
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

async function claim(job = newJob(), worker = 'w1') {
  const { state, writer } = await log.claim(job, worker);
  if (writer === null) throw new Error('claimed nothing');
  return { job, state, writer };
}

async function readAll(entries: AsyncIterable<unknown>): Promise<void> {
  for await (const _ of entries);
}

describe('claim', () => {
  it('appends entry 0 where it is missing, then the claim', async () => {
    const { job, state } = await claim();
    expect(state).toMatchObject({ job, epoch: 1, nextSequenceNumber: 1, terminal: null });
    expect(await log.read(job.id)).toEqual(state);
  });

  it('gives what earlier owners wrote and goes on after it', async () => {
    const { job, writer } = await claim();
    await writer.append(tokenEntry(7, 8));
    const second = await claim(job, 'w2');
    expect(second.state).toMatchObject({ epoch: 2, tokens: [7, 8], nextSequenceNumber: 2 });
    await second.writer.append(tokenEntry(9));
    expect(await log.read(job.id)).toMatchObject({ tokens: [7, 8, 9], text: ' t7 t8 t9', epoch: 2 });
  });

  it('does not claim what has ended', async () => {
    const { job, writer } = await claim();
    await writer.append(finishEntry);
    const again = await log.claim(job, 'w2');
    expect(again).toMatchObject({ writer: null, state: { epoch: 1, terminal: { reason: 'stop' } } });
    expect((await log.read(job.id))?.epoch).toBe(1);
  });

  it('gives every claimer an epoch of its own, also the same worker twice at once', async () => {
    const job = newJob();
    await log.appendQueued(job);
    const claims = await Promise.all(Array.from({ length: 8 }, () => claim(job, 'w1')));
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
    await Promise.all([log.appendQueued(job), log.appendQueued(job), claim(job)]);
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

describe('LogWriter', () => {
  it('carries what is pushed during a publish in the next entry', async () => {
    const { job, writer } = await claim();
    const subscription = await log.subscribe(job.id);
    for (let token = 0; token < 50; token++) writer.push(tokenEntry(token));
    await writer.append(finishEntry);
    const entries = [];
    for await (const entry of subscription.entries()) if (entry.kind === 'tokens') entries.push(entry.tokens);
    // The first push is published at once; the other 49 wait for it, together.
    expect(entries).toEqual([[0], Array.from({ length: 49 }, (_, i) => i + 1)]);
  });

  it('cuts an entry that is larger than NATS takes', async () => {
    const { job, writer } = await claim();
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
    const { job, writer } = await claim();
    await claim(job, 'w2');
    await expect(writer.append(tokenEntry(7))).rejects.toThrow(FencedError);
    expect(writer.lost.reason).toMatchObject({ code: 'fenced', epoch: 1, generationId: job.id });
    expect(() => writer.push(tokenEntry(8))).toThrow(FencedError);
    await expect(writer.flush()).rejects.toThrow(FencedError);
    expect(await log.read(job.id)).toMatchObject({ epoch: 2, tokens: [] });
  });

  it('notices a new owner and a cancel without appending', async () => {
    const { job, writer } = await claim();
    await writer.check();
    expect(writer.cancelled.aborted).toBe(false);
    await log.requestCancel(job.id);
    await writer.check();
    expect(writer.cancelled.aborted).toBe(true);
    await claim(job, 'w2');
    await expect(writer.check()).rejects.toThrow(FencedError);
  });

  it('lets nothing follow the terminal entry', async () => {
    const { writer } = await claim();
    await writer.append(finishEntry);
    expect(() => writer.push(tokenEntry(1))).toThrow(LogCorruptedError);
  });

  it('appends nothing for an output without tokens and text', async () => {
    const { job, writer } = await claim();
    await writer.append(tokenEntry());
    expect((await log.read(job.id))?.nextSequenceNumber).toBe(1);
  });
});

describe('requestCancel', () => {
  it('reaches a generation that is queued', async () => {
    const job = newJob();
    await log.appendQueued(job);
    expect(await log.requestCancel(job.id)).toBe('requested');
    const { state, writer } = await claim(job);
    expect(state.cancelRequested).toBe(true);
    expect(writer.cancelled.aborted).toBe(true);
  });

  it('reaches a running one at its next append, which is stored', async () => {
    const { job, writer } = await claim();
    expect(await log.requestCancel(job.id)).toBe('requested');
    expect(await log.requestCancel(job.id)).toBe('requested');
    await writer.append(tokenEntry(7));
    expect(writer.cancelled.aborted).toBe(true);
    await writer.append({ ...finishEntry, reason: 'cancelled' });
    expect(await log.read(job.id)).toMatchObject({ tokens: [7], terminal: { reason: 'cancelled' } });
  });

  it('finds its way between the appends of a busy owner', async () => {
    const { writer, job } = await claim();
    let token = 0;
    const busy = (async () => {
      while (!writer.cancelled.aborted) await writer.append(tokenEntry(token++));
    })();
    expect(await log.requestCancel(job.id)).toBe('requested');
    await busy;
    expect((await log.read(job.id))?.tokens).toEqual(Array.from({ length: token }, (_, i) => i));
  });

  it('tells what has ended and what nobody knows', async () => {
    const { job, writer } = await claim();
    await writer.append(finishEntry);
    expect(await log.requestCancel(job.id)).toBe('finished');
    expect(await log.requestCancel(newId('resp', 'default'))).toBe('unknown');
  });
});

describe('appendError', () => {
  const error = { code: 'server_error', message: 'claimed 5 times' } as const;

  it('ends a generation and fences its owner', async () => {
    const { job, writer } = await claim();
    await writer.append(tokenEntry(7));
    expect(await log.appendError(job.id, error, 'sweeper')).toBe('appended');
    expect(await log.read(job.id)).toMatchObject({ epoch: 2, tokens: [7], terminal: { ...error, epoch: 2 } });
    await expect(writer.append(tokenEntry(8))).rejects.toThrow(FencedError);
  });

  it('leaves alone what has ended and what nobody knows', async () => {
    const { job, writer } = await claim();
    await writer.append(finishEntry);
    expect(await log.appendError(job.id, error, 'sweeper')).toBe('finished');
    expect((await log.read(job.id))?.terminal?.kind).toBe('finish');
    expect(await log.appendError(newId('resp', 'default'), error, 'sweeper')).toBe('unknown');
  });
});

describe('a long log', () => {
  const entries = 2000;

  it('is read whole and in order, many entries at once, whatever lies between them', async () => {
    const [long, other] = [await claim(), await claim()];
    for (let token = 0; token < entries; token++) {
      await long.writer.append(tokenEntry(token));
      if (token % 7 === 0) await other.writer.append(tokenEntry(token));
    }
    const sent = () => log.connection.stats().outMsgs;
    const before = sent();
    const state = await log.read(long.job.id);
    expect(sent() - before).toBeLessThan(entries / 20);
    expect(state?.tokens).toEqual(Array.from({ length: entries }, (_, token) => token));
    const history: number[] = [];
    for await (const { entry, at } of log.history(long.job.id)) {
      if (entry.kind === 'tokens') history.push(...entry.tokens);
      expect(at).toBeGreaterThan(0);
    }
    expect(history).toEqual(state?.tokens);
    const next = await claim(long.job, 'w2');
    expect(next.state).toMatchObject({ epoch: 2, nextSequenceNumber: entries + 1 });
    await next.writer.append(finishEntry);
    expect(await log.read(long.job.id)).toMatchObject({
      tokens: state?.tokens,
      terminal: { kind: 'finish' },
    });
  });

  it('is refused where an entry is missing in its middle', async () => {
    const { job, writer } = await claim();
    for (let token = 0; token < 20; token++) await writer.append(tokenEntry(token));
    const connection = await connectNats(nats.url, 'test');
    const manager = await jetstreamManager(connection);
    const query = { last_by_subj: logSubject(0, job.id) };
    const stored = await manager.direct.getMessage(logStream(0), query);
    const first = headers();
    first.set('Baton-First-Sequence', stored?.header.get('Baton-First-Sequence') ?? '');
    for (let at = 22; at < 40; at++) {
      const entry = { v: 1, ...tokenEntry(99), epoch: 1, sequence_number: at };
      const data = JSON.stringify(entry);
      await jetstream(connection).publish(logSubject(0, job.id), data, { headers: first });
    }
    await expect(log.read(job.id)).rejects.toThrow(LogCorruptedError);
    await expect(log.read(job.id)).rejects.toThrow('has sequence number 22, expected 21');
    await connection.close();
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
    const { state } = await log.claim(job, 'next', followed);
    expect(state).toMatchObject({ epoch: 2, owner: 'next', tokens: [1, 2, 3], text: 'abc' });
    expect(await log.read(job.id)).toEqual(state);
    await expect(writer?.append({ kind: 'tokens', tokens: [4], text: 'd' })).rejects.toThrow(FencedError);
  });
});

describe('open', () => {
  it('forgets a generation on request, and no other one', async () => {
    const [gone, kept] = [await claim(), await claim()];
    await gone.writer.append(finishEntry);
    await kept.writer.append(finishEntry);
    await log.delete(gone.job.id);
    expect(await log.read(gone.job.id)).toBeNull();
    expect((await log.read(kept.job.id))?.terminal?.kind).toBe('finish');
  });

  it('lets nobody go on with what was forgotten: neither its owner, nor a job, nor a reader', async () => {
    const { job, writer } = await claim();
    await writer.append(tokenEntry(7));
    const [slow, late] = [await log.subscribe(job.id), await log.follow(job.id)];
    const entries = slow.entries();
    await entries.next();
    await writer.append(tokenEntry(8));
    await log.end(job, 'gateway');
    await log.end(job, 'gateway');
    await log.delete(job.id);
    await expect(writer.append(tokenEntry(9))).rejects.toThrow(FencedError);
    await expect(log.claim(job, 'w2')).rejects.toThrow(NotFoundError);
    await expect(log.claim(job, 'w2', late)).rejects.toThrow(NotFoundError);
    await expect(log.end(job, 'gateway')).rejects.toThrow(NotFoundError);
    await expect(log.appendQueued(job)).rejects.toThrow(NotFoundError);
    await expect(readAll(entries)).rejects.toThrow(NotFoundError);
    await expect(readAll(log.history(job.id))).rejects.toThrow(NotFoundError);
    expect(await log.requestCancel(job.id)).toBe('finished');
    expect(await log.read(job.id)).toBeNull();
  });

  it('leaves an owner whose log somebody has purged nothing to append to', async () => {
    const { job, writer } = await claim();
    const manager = await jetstreamManager(log.connection);
    await manager.streams.purge(logStream(0), { filter: logSubject(0, job.id) });
    await expect(writer.append(tokenEntry(7))).rejects.toThrow(NotFoundError);
    expect(await log.read(job.id)).toBeNull();
  });

  it('keeps stored entries unchangeable', async () => {
    const connection = await connectNats(nats.url, 'test');
    const manager = await jetstreamManager(connection);
    await expect(manager.streams.deleteMessage(logStream(0), 1)).rejects.toThrow('delete not permitted');
    await connection.close();
  });

  it('takes on a changed age, and refuses another number of shards and replicas nobody has', async () => {
    const server = await startTestNats();
    try {
      const settings = { shards: 4, maxAgeMs: 3_600_000 };
      await Promise.all(
        [TokenLog.open(server.url, settings), TokenLog.open(server.url, settings)].map(async (opening) =>
          (await opening).close(),
        ),
      );
      const shorter = await TokenLog.open(server.url, { ...settings, maxAgeMs: 60_000 });
      const manager = await jetstreamManager(shorter.connection);
      expect((await manager.streams.info(logStream(3))).config.max_age).toBe(60_000_000_000);
      await shorter.close();

      const fewer = TokenLog.open(server.url, { ...settings, shards: 2 });
      await expect(fewer).rejects.toThrow(ConfigurationError);
      await expect(fewer).rejects.toThrow('more than 2 shards');
      const more = TokenLog.open(server.url, { ...settings, shards: 8 });
      await expect(more).rejects.toThrow(ConfigurationError);
      await expect(more).rejects.toThrow('fewer than 8 shards');
      const replicated = TokenLog.open(server.url, { ...settings, replicas: 3 });
      await expect(replicated).rejects.toThrow(ConfigurationError);
      await expect(replicated).rejects.toThrow('single server');
    } finally {
      await server.stop();
    }
  });

  it('refuses more replicas than there are servers', async () => {
    const server = await startTestNats();
    try {
      const opening = TokenLog.open(server.url, { replicas: 3 });
      await expect(opening).rejects.toThrow(ConfigurationError);
      await expect(opening).rejects.toThrow('3 replicas');
    } finally {
      await server.stop();
    }
  });

  it('names the server that does not answer', async () => {
    const opening = TokenLog.open('nats://127.0.0.1:9');
    await expect(opening).rejects.toThrow(DependencyError);
    await expect(opening).rejects.toThrow('nats://127.0.0.1:9');
  });

  it('leaves a connection it was given open', async () => {
    const connection = await connectNats(nats.url, 'test');
    const borrowed = await TokenLog.open(connection);
    await borrowed.close();
    expect(connection.isClosed()).toBe(false);
    await connection.close();
  });
});

describe('read', () => {
  it('knows nothing of a log without entries, or whose beginning has expired', async () => {
    expect(await log.read(newId('resp', 'default'))).toBeNull();
    const server = await startTestNats();
    try {
      const brief = await TokenLog.open(server.url, { maxAgeMs: 1500 });
      const job = newJob();
      const { writer } = await brief.claim(job, 'w1');
      // Waits for the server to drop entry 0 while later ones are kept.
      const manager = await jetstreamManager(brief.connection);
      for (let token = 0; (await manager.streams.info(logStream(0))).state.first_seq === 1; token++) {
        await writer?.append(tokenEntry(token));
      }
      expect(await brief.read(job.id)).toBeNull();
      await brief.close();
    } finally {
      await server.stop();
    }
  });

  it('refuses a log that breaks its invariants, by name', async () => {
    const { job, writer } = await claim();
    await writer.append(tokenEntry(7));
    const forged = { v: 1, kind: 'tokens', epoch: 1, sequence_number: 9, tokens: [8], text: '' };
    await jetstream(log.connection).publish(logSubject(0, job.id), JSON.stringify(forged));
    await expect(log.read(job.id)).rejects.toThrow(LogCorruptedError);
    await expect(log.read(job.id)).rejects.toThrow(job.id);
  });
});
