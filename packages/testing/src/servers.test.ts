import { existsSync } from 'node:fs';
import { readlink } from 'node:fs/promises';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { startTestServers, type TestServers } from './servers.ts';

let servers: TestServers;
beforeAll(async () => {
  servers = await startTestServers();
});
afterAll(() => servers.stop());

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

it.each(['redis', 'nats'] as const)(
  'restarts %s on the same port, politely or after a kill',
  async (name) => {
    const server = servers[name];
    const { pid: first, port } = server;
    await server.restart();
    const second = server.pid;
    await server.restart('SIGKILL');
    expect(new Set([first, second, server.pid]).size).toBe(3);
    expect([first, second, server.pid].map(isAlive)).toEqual([false, false, true]);
    expect(server.port).toBe(port);
    expect(server.url).toBe(`${name}://127.0.0.1:${port}`);
  },
);

it.runIf(process.platform === 'linux')('leaves neither processes nor folders behind', async () => {
  const others = await startTestServers();
  const pids = [others.redis.pid, others.nats.pid];
  const folders = await Promise.all(pids.map((pid) => readlink(`/proc/${pid}/cwd`)));
  expect(folders.map(existsSync)).toEqual([true, true]);
  await others.stop();
  expect(pids.map(isAlive)).toEqual([false, false]);
  expect(folders.map(existsSync)).toEqual([false, false]);
});
