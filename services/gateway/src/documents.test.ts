import { startTestRedis, type TestServer } from '@baton/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Documents } from './documents.ts';

let redis: TestServer;
let documents: Documents;
/** Whose texts are gone as soon as they are written. */
let fleeting: Documents;
beforeAll(async () => {
  redis = await startTestRedis();
  documents = await Documents.open(redis.url, { ttlMs: 3_600_000 });
  fleeting = await Documents.open(redis.url, { ttlMs: 1 });
});
afterAll(async () => {
  documents.close();
  fleeting.close();
  await redis.stop();
});

const accountOf = (tenant: string) => ({
  sizes: `{${tenant}}:sizes`,
  expiries: `{${tenant}}:expiries`,
  quotaBytes: 100,
});
const bytes = (count: number) => 'x'.repeat(count);

describe('Documents', () => {
  it('change a text only where it is what it was', async () => {
    const account = accountOf('a');
    expect(await documents.change('{a}:1', null, 'one', account)).toBe('done');
    expect(await documents.change('{a}:1', null, 'two', account)).toBe('conflict');
    expect(await documents.change('{a}:1', 'two', 'three', account)).toBe('conflict');
    expect(await documents.change('{a}:1', 'one', 'two', account)).toBe('done');
    expect(await documents.read('{a}:1')).toBe('two');
    expect(await documents.delete('{a}:1', account)).toBe(true);
    expect(await documents.delete('{a}:1', account)).toBe(false);
    expect(await documents.read('{a}:1')).toBeNull();
  });

  it('take no more together than their account has room for', async () => {
    const account = accountOf('b');
    expect(await documents.change('{b}:1', null, bytes(60), account)).toBe('done');
    expect(await documents.change('{b}:2', null, bytes(41), account)).toBe('full');
    expect(await documents.read('{b}:2')).toBeNull();
    expect(await documents.change('{b}:2', null, '€'.repeat(13), account)).toBe('done');
    expect(await documents.change('{b}:2', '€'.repeat(13), '€'.repeat(14), account)).toBe('full');
    expect(await documents.change('{b}:1', bytes(60), bytes(50), account)).toBe('done');
    expect(await documents.change('{b}:2', '€'.repeat(13), '€'.repeat(14), account)).toBe('done');
    expect(await documents.delete('{b}:1', account)).toBe(true);
    expect(await documents.change('{b}:3', null, bytes(58), account)).toBe('done');
    // Each has its own.
    expect(await documents.change('{c}:1', null, bytes(100), accountOf('c'))).toBe('done');
  });

  it('may become shorter where they take too much already', async () => {
    const roomy = { ...accountOf('d'), quotaBytes: 1000 };
    expect(await documents.change('{d}:1', null, bytes(500), roomy)).toBe('done');
    expect(await documents.change('{d}:1', bytes(500), bytes(400), accountOf('d'))).toBe('done');
    expect(await documents.change('{d}:1', bytes(400), bytes(401), accountOf('d'))).toBe('full');
  });

  it('take nothing any more once they have expired', async () => {
    const account = accountOf('e');
    expect(await documents.change('{e}:1', null, bytes(10), account)).toBe('done');
    expect(await fleeting.change('{e}:2', null, bytes(80), account)).toBe('done');
    await expect.poll(() => documents.read('{e}:2')).toBeNull();
    expect(await documents.change('{e}:3', null, bytes(91), account)).toBe('full');
    expect(await documents.change('{e}:3', null, bytes(90), account)).toBe('done');
  });
});
