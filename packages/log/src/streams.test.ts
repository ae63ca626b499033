import { ConfigurationError, DependencyError } from '@baton/errors';
import { logStream } from '@baton/protocol';
import { startTestNats, type TestServer } from '@baton/testing';
import { jetstreamManager } from '@nats-io/jetstream';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { connectNats } from './nats-connection.ts';
import { TokenLog } from './token-log.ts';

let nats: TestServer;
beforeAll(async () => {
  nats = await startTestNats();
});
afterAll(() => nats.stop());

describe('open', () => {
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
