import { startTestNats } from '@baton/testing';
import { expect, it } from 'vitest';
import { connectNats } from './nats-connection.ts';

it('says which servers do not answer, without who connects to them', async () => {
  const url = 'nats://user:hunter2@127.0.0.1:1,nats://token@127.0.0.1:2';
  const refused = connectNats(url, 'test');
  await expect(refused).rejects.toMatchObject({
    name: 'DependencyError',
    message: expect.stringContaining('NATS at nats://***@127.0.0.1:1,nats://***@127.0.0.1:2 does not answer'),
  });
  await expect(refused).rejects.not.toThrow(/user|hunter2|token/);
});

it.each([
  ['a user and password', ['--user', 'baton', '--pass', 'hunter@2'], 'baton:hunter%402@'],
  ['a token', ['--auth', 'hunter2'], 'hunter2@'],
])('connects with %s of the URL', async (_, args, credentials) => {
  const server = await startTestNats(...args);
  try {
    await expect(connectNats(server.url, 'test')).rejects.toThrow(/authorization violation/i);
    const url = `nats://127.0.0.1:1,nats://${credentials}127.0.0.1:${server.port}`;
    const connection = await connectNats(url, 'test');
    await connection.flush();
    await connection.close();
  } finally {
    await server.stop();
  }
});

it('refuses a server without TLS where the URL asks for it', async () => {
  const server = await startTestNats();
  try {
    await expect(connectNats(`tls://127.0.0.1:${server.port}`, 'test')).rejects.toThrow(/tls/i);
  } finally {
    await server.stop();
  }
});
