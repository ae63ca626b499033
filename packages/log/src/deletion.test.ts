import { FencedError, NotFoundError } from '@baton/errors';
import { logStream, logSubject } from '@baton/protocol';
import { startTestNats, type TestServer } from '@baton/testing';
import { jetstreamManager } from '@nats-io/jetstream';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { connectNats } from './nats-connection.ts';
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

async function readAll(entries: AsyncIterable<unknown>): Promise<void> {
  for await (const _ of entries);
}

describe('delete', () => {
  it('forgets a generation on request, and no other one', async () => {
    const [gone, kept] = [await claim(log), await claim(log)];
    await gone.writer.append(finishEntry);
    await kept.writer.append(finishEntry);
    await log.delete(gone.job.id);
    expect(await log.read(gone.job.id)).toBeNull();
    expect((await log.read(kept.job.id))?.terminal?.kind).toBe('finish');
  });

  it('lets nobody go on with what was forgotten: neither its owner, nor a job, nor a reader', async () => {
    const { job, writer } = await claim(log);
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
    await expect(log.claim(job, 'w2', { followed: late })).rejects.toThrow(NotFoundError);
    await expect(log.end(job, 'gateway')).rejects.toThrow(NotFoundError);
    await expect(log.appendQueued(job)).rejects.toThrow(NotFoundError);
    await expect(readAll(entries)).rejects.toThrow(NotFoundError);
    await expect(readAll(log.history(job.id))).rejects.toThrow(NotFoundError);
    expect(await log.requestCancel(job.id)).toBe('finished');
    expect(await log.read(job.id)).toBeNull();
  });

  it('leaves an owner whose log somebody has purged nothing to append to', async () => {
    const { job, writer } = await claim(log);
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
});
