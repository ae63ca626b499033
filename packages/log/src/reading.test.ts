import { LogCorruptedError } from '@baton/errors';
import { logStream, logSubject, newId } from '@baton/protocol';
import { startTestNats, type TestServer } from '@baton/testing';
import { jetstream, jetstreamManager } from '@nats-io/jetstream';
import { headers } from '@nats-io/transport-node';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { connectNats } from './nats-connection.ts';
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
    const { job, writer } = await claim(log);
    await writer.append(tokenEntry(7));
    const forged = { v: 1, kind: 'tokens', epoch: 1, sequence_number: 9, tokens: [8], text: '' };
    await jetstream(log.connection).publish(logSubject(0, job.id), JSON.stringify(forged));
    await expect(log.read(job.id)).rejects.toThrow(LogCorruptedError);
    await expect(log.read(job.id)).rejects.toThrow(job.id);
  });
});

describe('a long log', () => {
  const entries = 2000;

  it('is read whole and in order, many entries at once, whatever lies between them', async () => {
    const [long, other] = [await claim(log), await claim(log)];
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
    const next = await claim(log, long.job, 'w2');
    expect(next.state).toMatchObject({ epoch: 2, nextSequenceNumber: entries + 1 });
    await next.writer.append(finishEntry);
    expect(await log.read(long.job.id)).toMatchObject({
      tokens: state?.tokens,
      terminal: { kind: 'finish' },
    });
  });

  it('is refused where an entry is missing in its middle', async () => {
    const { job, writer } = await claim(log);
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
