import { DependencyError, MessageError } from '@baton/errors';
import { startTestRedis, type TestServer } from '@baton/testing';
import { Redis } from 'ioredis';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ApiKeys } from './api-keys.ts';

let redis: TestServer;
let keys: ApiKeys;
beforeAll(async () => {
  redis = await startTestRedis();
  keys = await ApiKeys.open(redis.url);
});
afterAll(async () => {
  await keys.close();
  await redis.stop();
});

describe('ApiKeys', () => {
  it('finds whose key it is until it is revoked, also from elsewhere', async () => {
    const elsewhere = await ApiKeys.open(redis.url);
    const { id, key } = await keys.create({ tenant: 'acme', scopes: ['inference'], name: 'laptop' });
    const found = {
      id,
      tenant: 'acme',
      scopes: ['inference'],
      name: 'laptop',
      createdAt: expect.any(Number),
    };
    expect(await elsewhere.find(key)).toEqual(found);
    expect(await elsewhere.list()).toContainEqual(found);
    expect(await keys.revoke(id)).toBe(true);
    expect(await keys.revoke(id)).toBe(false);
    expect(await elsewhere.find(key)).toBeNull();
    expect(await elsewhere.list()).not.toContainEqual(found);
    await elsewhere.close();
  });

  it('knows no other key, however alike', async () => {
    const { id, key } = await keys.create({ tenant: 'acme', scopes: ['admin'], name: '' });
    const last = key.endsWith('A') ? 'B' : 'A';
    const others = ['', 'none', id, key.slice(0, -1) + last, `${key}A`, key.slice(0, -1), key.toUpperCase()];
    for (const other of others) expect(await keys.find(other), other).toBeNull();
  });

  it('stores nothing that a key could be made from', async () => {
    const { id, key } = await keys.create({ tenant: 'acme', scopes: ['inference'], name: 'laptop' });
    const client = new Redis(redis.url);
    const stored = JSON.stringify(await client.hgetall('baton:api-keys'));
    client.disconnect();
    expect(stored).toContain(id);
    expect(stored).not.toContain(key.slice(-43));
  });

  it('refuses a tenant that no job could carry, and a stored key that it does not understand', async () => {
    const create = (tenant: string) => keys.create({ tenant, scopes: ['inference'], name: '' });
    await expect(create('Acme Inc')).rejects.toThrow(MessageError);
    const { id, key } = await create('acme');
    const client = new Redis(redis.url);
    await client.hset('baton:api-keys', id, '{"v":2}');
    client.disconnect();
    await expect(keys.find(key)).rejects.toThrow(`baton:api-keys ${id}`);
    await keys.revoke(id);
  });

  it('knows nobody while Redis is away', async () => {
    const { key } = await keys.create({ tenant: 'acme', scopes: ['inference'], name: '' });
    const other = await startTestRedis();
    const lost = await ApiKeys.open(other.url);
    await other.stop();
    await expect(lost.find(key)).rejects.toThrow(DependencyError);
    await lost.close();
  });
});
