import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ConfigurationError, DependencyError } from '@baton/errors';
import { afterEach, beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { askPort } from './ask-port.ts';
import { findServer, type LocalServer, startNats, startRedis } from './index.ts';

let folder: string;
const running: LocalServer[] = [];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'baton-servers-'));
});
afterEach(async () => {
  await Promise.all(running.splice(0).map((server) => server.stop()));
  rmSync(folder, { recursive: true, force: true });
});

async function keep(starting: Promise<LocalServer>): Promise<LocalServer> {
  const server = await starting;
  running.push(server);
  return server;
}

const redisSays = (port: number, command: string): Promise<string | undefined> =>
  askPort(port, `${command}\r\n`, (text) => /\r\n$/.test(text) && !/^\$\d+\r\n$/.test(text));

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

describe.each([
  ['redis-server', startRedis],
  ['nats-server', startNats],
] as const)('%s', (name, start) => {
  it('answers once started, and is gone once stopped', async () => {
    const server = await keep(start({ dataDir: folder }));
    expect(isAlive(server.pid)).toBe(true);
    expect(server.url).toBe(`${name.split('-')[0]}://127.0.0.1:${server.port}`);
    await server.stop();
    expect(isAlive(server.pid)).toBe(false);
    expect(existsSync(join(folder, `${name}.pid`))).toBe(false);
  });

  it('starts again on the same port after a kill', async () => {
    const first = await keep(start({ dataDir: folder }));
    await first.kill('SIGKILL');
    expect(await first.exited).toBe('SIGKILL');
    const second = await keep(start({ dataDir: folder, port: first.port }));
    expect(second.port).toBe(first.port);
    expect(second.pid).not.toBe(first.pid);
  });

  it('ends even when it is paused', async () => {
    const server = await keep(start({ dataDir: folder }));
    await server.kill('SIGSTOP');
    await server.stop();
    expect(isAlive(server.pid)).toBe(false);
  });

  it('gives the end of the log when its port is taken', async () => {
    const occupant = createServer().listen(0, '127.0.0.1');
    await once(occupant, 'listening');
    const address = occupant.address();
    const port = typeof address === 'object' && address !== null ? address.port : 0;
    try {
      const starting = start({ dataDir: folder, port });
      await expect(starting).rejects.toThrow(DependencyError);
      await expect(starting).rejects.toThrow(
        new RegExp(`${name} did not start on port ${port}[^]*in use`, 'i'),
      );
    } finally {
      occupant.close();
    }
  });

  it('does not take another server on its port for its own', async () => {
    const other = await keep(start({ dataDir: join(folder, 'other') }));
    await expect(start({ dataDir: join(folder, 'own'), port: other.port })).rejects.toThrow(DependencyError);
    expect(isAlive(other.pid)).toBe(true);
  });

  it('refuses data that a running process has a server on', async () => {
    const server = await keep(start({ dataDir: folder }));
    await expect(start({ dataDir: folder })).rejects.toThrow(ConfigurationError);
    expect(isAlive(server.pid)).toBe(true);
  });

  it('stops a server that a killed run left behind, and says so', async () => {
    const stale = spawn('sleep', ['600'], { cwd: folder, stdio: 'ignore' });
    const ended = once(stale, 'exit');
    const owner = spawn('true');
    await once(owner, 'exit');
    writeFileSync(join(folder, `${name}.pid`), `${stale.pid} ${owner.pid}\n`);
    const said: string[] = [];
    const server = await keep(start({ dataDir: folder, say: (line) => said.push(line) }));
    expect(await ended).toEqual([null, 'SIGTERM']);
    expect(said.join()).toContain(`process ${stale.pid}`);
    expect(readFileSync(join(folder, `${name}.pid`), 'utf8')).toBe(`${server.pid} ${process.pid}\n`);
  });

  it('leaves a process alone that only has the process id of an earlier server', async () => {
    const innocent = spawn('sleep', ['600'], { cwd: tmpdir(), stdio: 'ignore' });
    onTestFinished(() => void innocent.kill());
    writeFileSync(join(folder, `${name}.pid`), `${innocent.pid} 999999999\n`);
    await keep(start({ dataDir: folder }));
    expect(innocent.exitCode ?? innocent.signalCode).toBeNull();
  });

  it('ends when the process that started it is killed', async () => {
    const starter = spawn(
      process.execPath,
      ['--input-type=module', '-e', starterScript, name, folder, import.meta.resolve('./index.ts')],
      { stdio: ['ignore', 'pipe', 'inherit'] },
    );
    const [line] = await once(starter.stdout, 'data');
    const pid = Number(String(line));
    expect(isAlive(pid)).toBe(true);
    starter.kill('SIGKILL');
    await expect.poll(() => isAlive(pid), { timeout: 30_000 }).toBe(false);
  });

  it('is found on the PATH, and missed by name with a way out where nothing can provide it', async () => {
    expect(await findServer(name)).toMatchObject({ kind: 'program' });
    const variable = name === 'redis-server' ? 'BATON_REDIS_URL' : 'BATON_NATS_URL';
    await expect(findServer(name, { folders: [folder] })).rejects.toThrow(
      new RegExp(`^${name} was not found: .*no known package manager.*Docker is not installed.*${variable}`),
    );
  });
});

const starterScript = `
const [name, dataDir, module] = process.argv.slice(1);
const { startRedis, startNats } = await import(module);
const server = await (name === 'redis-server' ? startRedis : startNats)({ dataDir });
console.log(server.pid);
`;

it('keeps what Redis stored over a restart, and never evicts', async () => {
  const first = await keep(startRedis({ dataDir: folder }));
  expect(await redisSays(first.port, 'SET key value')).toBe('+OK\r\n');
  expect(await redisSays(first.port, 'CONFIG GET maxmemory-policy')).toContain('noeviction');
  await first.stop();
  const second = await keep(startRedis({ dataDir: folder, port: first.port }));
  expect(await redisSays(second.port, 'GET key')).toContain('value');
});
