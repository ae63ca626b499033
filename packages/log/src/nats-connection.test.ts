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
