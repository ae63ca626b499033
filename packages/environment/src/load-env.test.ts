import { readFileSync } from 'node:fs';
import { ConfigurationError } from '@baton/errors';
import { describe, expect, it } from 'vitest';
import { checkAccess } from './check-access.ts';
import { checkOption, loadEnv } from './load-env.ts';
import { type VariableName, variables } from './variables.ts';

describe('loadEnv', () => {
  it('gives defaults, and undefined where there is none', () => {
    const env = loadEnv({}, ['BATON_PORT', 'BATON_MODEL', 'BATON_LOG_LEVEL']);
    expect(env).toEqual({ BATON_PORT: 8080, BATON_MODEL: undefined, BATON_LOG_LEVEL: 'info' });
  });

  it('takes an empty string for unset', () => {
    expect(loadEnv({ BATON_PORT: '' }, ['BATON_PORT']).BATON_PORT).toBe(8080);
  });

  it.each([
    ['BATON_PORT', '80800', 'between 0 and 65535'],
    ['BATON_PORT', '8080x', 'whole number'],
    ['BATON_REDIS_URL', 'localhost:6379', 'redis://'],
    ['BATON_REDIS_URL', 'redis://localhost:6379/abc', 'number of a database if in anything: redis://'],
    ['BATON_REDIS_URL', 'redis://localhost:6379/1/2', 'number of a database'],
    ['BATON_REDIS_URL', 'redis://localhost:6379/-1', 'number of a database'],
    ['BATON_SNAPSHOT_STORE', 'rediss://localhost/one', 'number of a database'],
    ['BATON_SNAPSHOT_STORE', 'file://x/y', 'names the machine x: a folder is file:///path'],
    ['BATON_SNAPSHOT_STORE', 'file:y', 'file:///path'],
    ['BATON_SNAPSHOT_STORE', 'file:///a%2Fb', '%2F'],
    ['BATON_SNAPSHOT_STORE', 'file:///a?b', '%3F'],
    ['BATON_SNAPSHOT_STORE', 's3://', 'must name a bucket: a bucket is s3://bucket/prefix?endpoint='],
    ['BATON_SNAPSHOT_STORE', 's3:///prefix', 'must name a bucket'],
    ['BATON_SNAPSHOT_STORE', 's3://s3.example:9000/bucket', 'has a port where the bucket belongs'],
    ['BATON_SNAPSHOT_STORE', 's3://bucket?endpoint=nonsense', 'an endpoint with http:// or https://'],
    ['BATON_SNAPSHOT_STORE', 's3://bucket?endpoint=', 'an endpoint with http:// or https://'],
    ['BATON_SNAPSHOT_STORE', 's3://bucket?region=eu/1', 'names no region'],
    ['BATON_SNAPSHOT_STORE', 's3://bucket?region=eu&region=us', 'asks for region twice'],
    ['BATON_SNAPSHOT_STORE', 's3://bucket#prefix', 'has a #'],
    ['BATON_NATS_URL', 'http://localhost:4222', 'nats://'],
    ['BATON_LOG_LEVEL', 'loud', 'trace, debug'],
    ['BATON_ALLOWED_ORIGINS', 'https://a.example,https://b.example/path', 'origins such as'],
    ['BATON_TRUSTED_PROXIES', '10.0.0.0/8,proxy', 'networks such as'],
    ['BATON_WORKER_ID', 'a b', 'letters, digits'],
  ] as const)('refuses %s=%s by name', (name, value, reason) => {
    const load = () => loadEnv({ [name]: value }, [name]);
    expect(load).toThrow(ConfigurationError);
    expect(load).toThrow(`${name}=${value}`);
    expect(load).toThrow(reason);
  });

  it.each(['redis://host', 'redis://host/', 'redis://user:hunter2@host:6379/15', 'rediss://host?db=3'])(
    'takes %s for a Redis and for a store in one',
    (url) => {
      const env = loadEnv({ BATON_REDIS_URL: url, BATON_SNAPSHOT_STORE: url }, [
        'BATON_REDIS_URL',
        'BATON_SNAPSHOT_STORE',
      ]);
      expect(env).toEqual({ BATON_REDIS_URL: url, BATON_SNAPSHOT_STORE: url });
    },
  );

  it('takes several servers of NATS, each by its URL', () => {
    const load = (url: string) => loadEnv({ BATON_NATS_URL: url }, ['BATON_NATS_URL']).BATON_NATS_URL;
    const several = 'nats://a:4222,tls://user:hunter2@b:4222';
    expect(load(several)).toBe(several);
    expect(() => load('nats://a:4222,b:4222')).toThrow('must be a URL that starts with nats:// or tls://');
    expect(() => load('nats://a:4222,')).toThrow('must be a URL');
  });

  it.each([
    'file:///var/lib/baton',
    'file://localhost/var/lib/baton',
    's3://bucket',
    's3://my.bucket-1/a/b?region=eu-central-1',
    's3://bucket/a?endpoint=http%3A%2F%2F127.0.0.1%3A9000&region=us-east-1',
  ])('takes %s for a store', (url) => {
    expect(loadEnv({ BATON_SNAPSHOT_STORE: url }, ['BATON_SNAPSHOT_STORE'])).toEqual({
      BATON_SNAPSHOT_STORE: url,
    });
  });

  it.each([
    [
      's3://bucket?endpiont=https://hunter2.example',
      's3://bucket?endpiont=*** asks for endpiont, and may for endpoint',
    ],
    ['s3://key:hunter2@bucket/prefix', 's3://***@bucket/prefix must not hold credentials'],
    ['s3://bucket?endpoint=https://key:hunter2@s3.example', 's3://***@s3.example must not hold credentials'],
  ])('says what is wrong with the store %s and no secret of it', (url, problem) => {
    const load = () => loadEnv({ BATON_SNAPSHOT_STORE: url }, ['BATON_SNAPSHOT_STORE']);
    expect(load).toThrow(`BATON_SNAPSHOT_STORE=${problem}`);
    expect(load).not.toThrow('hunter2');
  });

  it('checks options of commands as the variables that they stand for', () => {
    expect(() => checkOption('--redis', 'redis://:hunter2@host/x', 'BATON_REDIS_URL')).toThrow(
      new ConfigurationError(
        '--redis redis://***@host/x must end in the number of a database if in anything: redis://host:6379/0',
      ),
    );
    expect(() => checkOption('--redis', 'redis://:hunter2@host/1', 'BATON_REDIS_URL')).not.toThrow();
  });

  it('shows no keys, and no user or password of a URL', () => {
    const key = '0123456789abcdef'.repeat(4).slice(1);
    const source = {
      BATON_SNAPSHOT_KEYS: key,
      BATON_REDIS_URL: 'http://user:hunter2@host:1',
      BATON_NATS_URL: 'nats://a:4222,http://user:hunter2@b:4222',
      BATON_SNAPSHOT_STORE: 'user:hunter2@host:1',
      BATON_ALLOWED_ORIGINS: 'https://user:hunter2@a.example',
    };
    const load = () => loadEnv(source, Object.keys(source) as VariableName[]);
    expect(load).toThrow(/^BATON_SNAPSHOT_KEYS \(63 characters\) must be keys of 64 hexadecimal digits/);
    expect(load).toThrow('BATON_REDIS_URL=http://***@host:1 must be a URL that starts with redis://');
    for (const secret of [key.slice(0, 16), 'user', 'hunter2']) expect(load).not.toThrow(secret);
  });

  it('lists every problem at once', () => {
    expect(() => loadEnv({ BATON_PORT: 'x', BATON_WORKERS: '0' }, ['BATON_PORT', 'BATON_WORKERS'])).toThrow(
      /BATON_PORT=x.*\nBATON_WORKERS=0/,
    );
  });

  it('refuses an unknown BATON_ variable and suggests the nearest', () => {
    expect(() => loadEnv({ BATON_WORKER: '3' }, [])).toThrow(
      'BATON_WORKER is not a setting of Baton; did you mean BATON_WORKERS?',
    );
  });
});

describe('checkAccess', () => {
  it.each(['0.0.0.0', '::', '192.168.0.4', 'example.com'])(
    'lets nobody listen on %s without keys',
    (host) => {
      expect(() => checkAccess({ BATON_AUTH: 'none', BATON_HOST: host })).toThrow(`BATON_HOST=${host}`);
      expect(() => checkAccess({ BATON_AUTH: 'keys', BATON_HOST: host })).not.toThrow();
    },
  );

  it.each(['127.0.0.1', '127.1.2.3', '::1', 'localhost'])('lets anybody listen on %s', (host) => {
    expect(() => checkAccess({ BATON_AUTH: 'none', BATON_HOST: host })).not.toThrow();
  });
});

describe('.env.example', () => {
  const example = readFileSync(new URL('../../../.env.example', import.meta.url), 'utf8');
  const listed = [...example.matchAll(/^#?(BATON_[A-Z_]+)=(.*)$/gm)];

  it('lists every variable exactly once', () => {
    expect(listed.map(([, name]) => name).toSorted()).toEqual(Object.keys(variables).toSorted());
  });

  it('shows the default of each variable that has one', () => {
    for (const [, name, value] of listed) {
      const variable = variables[name as keyof typeof variables];
      expect(variable.safeParse(value).success, `${name}=${value}`).toBe(true);
      const standard = variable.safeParse(undefined).data;
      if (standard !== undefined) expect(String(standard), name).toBe(value);
    }
  });
});
