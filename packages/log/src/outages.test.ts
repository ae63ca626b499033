import { DependencyError, FencedError } from '@baton/errors';
import type { LogEntry } from '@baton/protocol';
import { startTestNats, type TestServer } from '@baton/testing';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { finishEntry, newJob, TcpProxy, tokenEntry } from './test-support.ts';
import { TokenLog } from './token-log.ts';

let nats: TestServer;
beforeAll(async () => {
  nats = await startTestNats();
});
afterAll(() => nats.stop());

/** `log` reaches NATS through `proxy`; `other` reaches it directly. */
let proxy: TcpProxy;
let log: TokenLog;
let other: TokenLog;
beforeEach(async () => {
  proxy = await TcpProxy.start(nats.port);
  log = await TokenLog.open(proxy.url, { requestTimeoutMs: 300 });
  other = await TokenLog.open(nats.url);
});
afterEach(async () => {
  await log.close();
  await other.close();
  await proxy.close();
});

async function claim(from: TokenLog, job = newJob()) {
  const { writer } = await from.claim(job, 'w1');
  if (writer === null) throw new Error('claimed nothing');
  return { job, writer };
}

describe.each(['cut', 'drop'] as const)('an acknowledgement that is lost (%s)', (how) => {
  it('does not double the entry', async () => {
    const { job, writer } = await claim(log);
    for (const token of [7, 8, 9]) {
      proxy.swallowNextAck(how);
      await writer.append(tokenEntry(token));
    }
    await writer.append(finishEntry);
    expect(proxy.swallowed).toBe(3);
    expect(await other.read(job.id)).toMatchObject({ tokens: [7, 8, 9], terminal: { kind: 'finish' } });
  });

  it('does not make one claim two', async () => {
    const job = newJob();
    await log.appendQueued(job);
    proxy.swallowNextAck(how);
    const { state } = await log.claim(job, 'w1');
    expect(proxy.swallowed).toBe(1);
    expect(state.epoch).toBe(1);
    expect(await other.read(job.id)).toMatchObject({ epoch: 1 });
  });

  it('hides neither a takeover nor a cancel that came right after', async () => {
    const { job, writer } = await claim(log);
    proxy.swallowNextAck(how);
    const appending = writer.append(tokenEntry(7));
    // The entry is stored: only its owner has not heard of it.
    while ((await other.read(job.id))?.tokens.length === 0);
    await other.requestCancel(job.id);
    const second = await claim(other, job);
    await second.writer.append(tokenEntry(8));
    await appending;
    await expect(writer.append(tokenEntry(9))).rejects.toThrow(FencedError);
    expect(await other.read(job.id)).toMatchObject({ epoch: 2, tokens: [7, 8], cancelRequested: true });
  });
});

describe('an owner that was stopped', () => {
  it('adds nothing after a takeover, whatever it still had under way', async () => {
    const { job, writer } = await claim(log);
    await writer.append(tokenEntry(7));
    proxy.pause();
    const late = writer.append(tokenEntry(666)).catch((error: unknown) => error);
    const second = await claim(other, job);
    await second.writer.append(tokenEntry(8));
    proxy.resume();
    expect(await late).toBeInstanceOf(FencedError);
    await second.writer.append(tokenEntry(9));
    await second.writer.append(finishEntry);
    expect(await other.read(job.id)).toMatchObject({ epoch: 2, tokens: [7, 8, 9] });
  });
});

describe('NATS that stays away', () => {
  it('ends an append after the deadline, and the writer with it', async () => {
    const impatient = await TokenLog.open(proxy.url, { deadlineMs: 500, requestTimeoutMs: 100 });
    const { writer } = await claim(impatient);
    proxy.pause();
    await expect(writer.append(tokenEntry(7))).rejects.toThrow(DependencyError);
    expect(writer.lost.reason).toBeInstanceOf(DependencyError);
    proxy.resume();
    // Whether the entry was stored is unknown, so this writer must not go on behind it.
    await expect(async () => writer.append(tokenEntry(8))).rejects.toThrow(DependencyError);
    await impatient.close();
  });
});

describe.each(['SIGTERM', 'SIGKILL'] as const)('NATS that restarts with its data (%s)', (signal) => {
  it('loses and doubles nothing, for the writer and for who follows', async () => {
    const { job, writer } = await claim(log);
    const subscription = await other.subscribe(job.id);
    const seen: LogEntry[] = [];
    const reading = (async () => {
      for await (const entry of subscription.entries()) seen.push(entry);
    })();
    for (let token = 0; token < 60; token++) {
      await writer.append(tokenEntry(token));
      if (token === 20) await nats.restart(signal);
      if (token === 40) void nats.restart(signal);
    }
    await writer.append(finishEntry);
    await reading;
    const expected = Array.from({ length: 60 }, (_, token) => token);
    expect(seen.flatMap((entry) => (entry.kind === 'tokens' ? entry.tokens : []))).toEqual(expected);
    expect(await other.read(job.id)).toMatchObject({ tokens: expected, terminal: { kind: 'finish' } });
  });
});
