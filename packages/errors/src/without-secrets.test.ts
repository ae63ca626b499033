import { describe, expect, it } from 'vitest';
import { withoutSecrets } from './without-secrets.ts';

describe('withoutSecrets', () => {
  it.each([
    ['redis://127.0.0.1:6379/1', 'redis://127.0.0.1:6379/1'],
    ['redis://user:hunter2@host:1/2', 'redis://***@host:1/2'],
    ['redis://:hunt@er/2@host:1', 'redis://***@host:1'],
    ['user:hunter2@host:1', '***@host:1'],
    ['redis:user:hunter2@host', '***@host'],
    ['redis://host?password=hunter2&family=6#a', 'redis://host?password=***&family=***#a'],
    ['nats://a:4222,nats://user:hunter2@b:4222,tls://token@c', 'nats://a:4222,nats://***@b:4222,tls://***@c'],
    ['nats://user:hunt,er2@a:4222,b', 'nats://***@a:4222,b'],
    [
      's3://bucket/prefix?endpoint=https://s3.example&region=eu',
      's3://bucket/prefix?endpoint=https://s3.example&region=eu',
    ],
    ['s3://bucket?endpoint=https%3A%2F%2Fkey%3Ahunter2%40s3.example', 's3://***@s3.example'],
    ['s3://bucket?endpiont=x', 's3://bucket?endpiont=***'],
    ['localhost:6379', 'localhost:6379'],
    ['80800', '80800'],
  ])('shows %s as %s', (url, shown) => {
    expect(withoutSecrets(url)).toBe(shown);
  });
});
