import { logStream, newId, tenantTag } from '@baton/protocol';
import { startTestNats, type TestServer } from '@baton/testing';
import { jetstreamManager } from '@nats-io/jetstream';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { announceReader } from './readers.ts';
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

async function write(tenant: string): Promise<string> {
  const job = newJob(tenant);
  const { writer } = await log.claim(job, 'w1');
  await writer?.append(tokenEntry(7));
  await writer?.append(finishEntry);
  return job.id;
}

it("a wildcard of one tenant's subjects sees its logs and no other's, raw, live and open", async () => {
  const tag = tenantTag('acme');
  const seen = new Set<string>();
  for (const subject of [`baton.log.*.${tag}.>`, `baton.live.*.${tag}.>`, `baton.open.${tag}.>`]) {
    log.connection.subscribe(subject, { callback: (_, message) => void seen.add(message.subject) });
  }
  await log.connection.flush();
  const [own] = await Promise.all([write('acme'), write('rival')]);
  await log.connection.flush();
  const expected = ['log.0', 'live.0', 'open'].map((kind) => `baton.${kind}.${tag}.${own}`);
  expect([...seen].sort()).toEqual(expected.sort());
});

it("a purge of one tenant's subjects takes its logs and leaves all others whole", async () => {
  const ids = { acme: await write('acme'), rival: await write('rival') };
  const manager = await jetstreamManager(log.connection);
  await manager.streams.purge(logStream(0), { filter: `baton.log.0.${tenantTag('acme')}.>` });
  expect(await log.read(ids.acme)).toBeNull();
  expect(await log.read(ids.rival)).toMatchObject({ tokens: [7], terminal: { kind: 'finish' } });
});

it("a reader's announcement is under its tenant's subjects", async () => {
  const own = newId('resp', 'acme');
  const stop = announceReader(log.connection, own);
  await log.connection.flush();
  const reply = await log.connection.request(`baton.followers.${tenantTag('acme')}.${own}`, undefined, {
    timeout: 5000,
  });
  expect(reply.data).toHaveLength(0);
  stop();
});
