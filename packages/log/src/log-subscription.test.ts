import type { GenerationJob, LogEntry } from '@baton/protocol';
import { liveSubject, logSubject } from '@baton/protocol';
import { startTestNats, type TestServer } from '@baton/testing';
import { jetstream } from '@nats-io/jetstream';
import { headers } from '@nats-io/transport-node';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { LogSubscription } from './log-subscription.ts';
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

async function write(job: GenerationJob, tokens: number): Promise<void> {
  const { writer } = await log.claim(job, 'w1');
  for (let token = 0; token < tokens; token++) await writer?.append(tokenEntry(token));
  await writer?.append(finishEntry);
}

async function readAll(subscription: LogSubscription): Promise<LogEntry[]> {
  const entries: LogEntry[] = [];
  for await (const entry of subscription.entries()) entries.push(entry);
  return entries;
}

const tokensOf = (entries: LogEntry[]) =>
  entries.flatMap((entry) => (entry.kind === 'tokens' ? entry.tokens : []));
const upTo = (count: number) => Array.from({ length: count }, (_, token) => token);

describe('LogSubscription', () => {
  it('gives every entry from the first, whenever it starts', async () => {
    const job = newJob();
    const before = readAll(await log.subscribe(job.id));
    const writing = write(job, 100);
    while (((await log.read(job.id))?.tokens.length ?? 0) < 20);
    const during = readAll(await log.subscribe(job.id));
    await writing;
    const after = readAll(await log.subscribe(job.id));
    const entries = await after;
    expect(entries.map(({ kind }) => kind)).toEqual([
      'queued',
      'claimed',
      ...upTo(100).map(() => 'tokens'),
      'finish',
    ]);
    expect(tokensOf(entries)).toEqual(upTo(100));
    expect(await before).toEqual(entries);
    expect(await during).toEqual(entries);
  });

  it('folds what it has given', async () => {
    const job = newJob();
    await write(job, 3);
    const subscription = await log.subscribe(job.id);
    await readAll(subscription);
    expect(subscription.state).toEqual(await log.read(job.id));
  });

  it('shows live only what was stored', async () => {
    const job = newJob();
    const raw: string[] = [];
    const live: string[] = [];
    const collect = (into: string[]) => ({
      callback: (_: unknown, message: { string(): string }) => {
        into.push(message.string());
      },
    });
    log.connection.subscribe(logSubject(0, job.id), collect(raw));
    log.connection.subscribe(liveSubject(0, job.id), collect(live));
    await log.appendQueued(job);
    const { writer: first } = await log.claim(job, 'w1');
    const { writer: second } = await log.claim(job, 'w2');
    await first?.append(tokenEntry(666)).catch(() => {});
    await second?.append(tokenEntry(7));
    await log.connection.flush();
    expect(raw.filter((entry) => entry.includes('[666]'))).toHaveLength(1);
    expect(live.filter((entry) => entry.includes('[666]'))).toEqual([]);
    expect(live).toHaveLength(4);
  });

  it('keeps a slow reader whole within its buffer', async () => {
    const small = await TokenLog.open(nats.url, { liveBufferBytes: 2000 });
    const job = newJob();
    const subscription = await small.subscribe(job.id);
    const seen: LogEntry[] = [];
    const iterator = subscription.entries();
    const take = async () => {
      const next = await iterator.next();
      if (!next.done) seen.push(next.value);
      return next.done;
    };
    await log.appendQueued(job);
    await take();
    // Far more than the buffer holds passes by while nobody reads.
    const { writer } = await log.claim(job, 'w1');
    for (const token of upTo(200)) await writer?.append(tokenEntry(token));
    while (seen.length < 202) await take();
    // Caught up, and live again.
    for (let token = 200; token < 400; token++) {
      await writer?.append(tokenEntry(token));
      if (token % 2 === 0) await take();
    }
    await writer?.append(finishEntry);
    while (!(await take()));
    expect(tokensOf(seen)).toEqual(upTo(400));
    await small.close();
  });

  it('finds what the live feed lost', async () => {
    const job = newJob();
    // A subscription to which nothing comes, as when a server drops a slow client's messages.
    const lossy = new Proxy(log.connection, {
      get: (target, key) => {
        if (key === 'subscribe') return () => target.subscribe('nothing.comes.here');
        const value: unknown = Reflect.get(target, key);
        return typeof value === 'function' ? value.bind(target) : value;
      },
    });
    const deaf = await TokenLog.open(lossy, { idleCheckMs: 50 });
    const reading = readAll(await deaf.subscribe(job.id));
    await write(job, 20);
    expect(tokensOf(await reading)).toEqual(upTo(20));
  });

  it('steps over a gap in the live feed', async () => {
    const job = newJob();
    const subscription = await log.subscribe(job.id);
    await log.appendQueued(job);
    const iterator = subscription.entries();
    expect((await iterator.next()).value).toMatchObject({ kind: 'queued' });
    const { writer } = await log.claim(job, 'w1');
    await writer?.append(tokenEntry(0));
    await writer?.append(tokenEntry(1));
    // A live message that claims to follow on something this reader has never seen.
    const forged = headers();
    forged.set('Nats-Sequence', '999999');
    forged.set('Nats-Last-Sequence', '999998');
    log.connection.publish(liveSubject(0, job.id), 'not an entry', { headers: forged });
    await writer?.append(finishEntry);
    const rest: LogEntry[] = [];
    for await (const entry of iterator) rest.push(entry);
    expect(rest.map(({ kind }) => kind)).toEqual(['claimed', 'tokens', 'tokens', 'finish']);
  });

  it('ends when closed, and with the reason of an aborted signal', async () => {
    const subscription = await log.subscribe(newJob().id);
    const reading = readAll(subscription);
    setImmediate(() => subscription.close());
    expect(await reading).toEqual([]);

    const abort = new AbortController();
    const iterator = (await log.subscribe(newJob().id)).entries({ signal: abort.signal });
    setImmediate(() => abort.abort(new Error('client gone')));
    await expect(iterator.next()).rejects.toThrow('client gone');
  });

  it('refuses a corrupted log by name', async () => {
    const job = newJob();
    await log.appendQueued(job);
    const reading = readAll(await log.subscribe(job.id));
    await jetstream(log.connection).publish(logSubject(0, job.id), '{"v":1,"kind":"queued"}');
    await expect(reading).rejects.toMatchObject({ code: 'invalid_message' });
    await expect(reading).rejects.toThrow(job.id);
  });

  it('serves 200 generations at once', async () => {
    const jobs = Array.from({ length: 200 }, newJob);
    const read = await Promise.all(
      jobs.map(async (job) => {
        const subscription = await log.subscribe(job.id);
        const [entries] = await Promise.all([readAll(subscription), write(job, 20)]);
        return tokensOf(entries);
      }),
    );
    for (const tokens of read) expect(tokens).toEqual(upTo(20));
  });
});
