import { tmpdir } from 'node:os';
import { ApiKeys } from '@baton/keys';
import { startTestRedis, type TestServer } from '@baton/testing';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { runBaton } from '../run-baton.ts';

let redis: TestServer;
beforeAll(async () => {
  redis = await startTestRedis();
});
afterAll(() => redis.stop());

const keys = (...args: string[]) => runBaton(['keys', ...args], tmpdir(), { BATON_REDIS_URL: redis.url });

it('makes a key that the gateways know, lists it without its secret, and revokes it', async () => {
  const made = await keys(
    'create',
    '--tenant',
    'acme',
    '--scope',
    'inference',
    'admin',
    '--name',
    'a laptop',
  );
  expect(made.code).toBe(0);
  const key = made.stdout.trim();
  const known = await ApiKeys.open(redis.url);
  const found = await known.find(key);
  expect(found).toMatchObject({ tenant: 'acme', scopes: ['inference', 'admin'], name: 'a laptop' });
  const { id = '' } = found ?? {};

  const { stdout } = await keys('list');
  expect(stdout).toMatch(new RegExp(`^${id} +acme +822b33ad +inference,admin +\\S+ +a laptop$`, 'm'));
  expect(stdout).not.toContain(key);

  expect(await keys('revoke', id)).toMatchObject({ code: 0, stdout: `Key ${id} is revoked.\n` });
  expect(await known.find(key)).toBeNull();
  expect(await keys('revoke', id)).toMatchObject({
    code: 1,
    stderr: expect.stringContaining(`no key ${id}`),
  });
  await known.close();
});

it.each([
  [['create', '--tenant', 'Acme Inc'], 'lower-case letters'],
  [['create', '--scope', 'root'], 'Allowed choices are inference, admin'],
  [['list', '--redis', 'redis://127.0.0.1:1'], 'Redis at 127.0.0.1:1 does not answer'],
  [
    ['list', '--redis', 'redis://:hunter2@127.0.0.1:1/abc'],
    '--redis redis://***@127.0.0.1:1/abc must end in',
  ],
  [['list', '--redis', 'nonsense'], '--redis nonsense must be a URL'],
])('says what is wrong with %j', async (args, problem) => {
  expect(await keys(...args)).toMatchObject({ code: 1, stderr: expect.stringContaining(problem) });
});

it('asks for the place where it is not told', async () => {
  const { code, stderr } = await runBaton(['keys', 'list'], tmpdir());
  expect([code, stderr]).toEqual([1, expect.stringContaining('BATON_REDIS_URL')]);
});
