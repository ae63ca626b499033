import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { ApiKeys } from '@baton/keys';
import { startTestServers, type TestServers } from '@baton/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { freePort } from '../support/processes.ts';
import { type ReplayedImage, replayImage } from './replay-image.ts';

describe('the images, built and run without a container engine', () => {
  let work: string;
  let servers: TestServers;
  let gateway: ReplayedImage;
  let worker: ReplayedImage;
  const running: ChildProcess[] = [];

  beforeAll(async () => {
    work = await mkdtemp(join(tmpdir(), 'baton-images-'));
    servers = await startTestServers();
    gateway = await replayImage('gateway', join(work, 'gateway'));
    worker = await replayImage('worker', join(work, 'worker'));
  });
  afterAll(async () => {
    for (const child of running) child.kill('SIGKILL');
    await servers?.stop();
    await rm(work, { recursive: true, force: true });
  });

  /** Runs `[file, …args]` as the image would, in a process that knows no other Node packages. */
  function start(image: ReplayedImage, [file = '', ...args]: readonly string[], env: Record<string, string>) {
    const child = spawn(file === 'node' ? process.execPath : file, args, {
      cwd: image.folder,
      env: { PATH: process.env['PATH'], ...image.env, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let output = '';
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (output += chunk));
    running.push(child);
    return { child, exit: once(child, 'close'), output: () => output };
  }

  it('leave out what only development needs', () => {
    for (const image of [gateway, worker]) {
      expect(existsSync(join(image.folder, 'node_modules/zod'))).toBe(true);
      for (const name of ['vitest', 'typescript', '@biomejs', 'node', 'openai']) {
        expect(existsSync(join(image.folder, 'node_modules', name)), name).toBe(false);
      }
    }
    expect(existsSync(join(gateway.folder, 'node_modules/onnxruntime-node'))).toBe(false);
    expect(existsSync(join(worker.folder, 'node_modules/fastify'))).toBe(false);
  });

  it('answer a request, pass their health check and stop when told to', async () => {
    const port = await freePort();
    const env = {
      BATON_DATA_DIR: join(work, 'data'),
      BATON_REDIS_URL: servers.redis.url,
      BATON_NATS_URL: servers.nats.url,
      BATON_PORT: String(port),
      BATON_THREADS: '1',
    };
    const processes = [start(gateway, gateway.command, env), start(worker, worker.command, env)];
    const outputs = () => processes.map(({ output }) => output()).join('\n');

    for (let healthy = false; !healthy; ) {
      const ended = processes.find(({ child }) => child.exitCode !== null);
      if (ended) throw new Error(await ended.exit.then(outputs));
      const [code] = await start(gateway, gateway.healthcheck ?? [], { BATON_PORT: String(port) }).exit;
      healthy = code === 0;
      await delay(200);
    }
    const keys = await ApiKeys.open(servers.redis.url);
    const { key } = await keys.create({ tenant: 'test', scopes: ['inference'], name: '' });
    await keys.close();
    const response = await fetch(`http://127.0.0.1:${port}/v1/chat/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', authorization: `Bearer ${key}` },
      body: JSON.stringify({
        model: 'hymba-stories-22m',
        max_tokens: 8,
        messages: [{ role: 'user', content: 'Tell me a story.' }],
      }),
    });
    const body = await response.text();
    expect(response.status, `${body}\n${outputs()}`).toBe(200);
    expect(JSON.parse(body).usage.completion_tokens).toBeGreaterThan(0);

    for (const { child, exit } of processes) {
      child.kill('SIGTERM');
      expect(await exit, outputs()).toEqual([0, null]);
    }
  });

  it('say which setting is missing', async () => {
    for (const image of [gateway, worker]) {
      const { exit, output } = start(image, image.command, {});
      const [code] = await exit;
      expect(code).toBe(1);
      expect(output()).toContain('BATON_REDIS_URL');
    }
  });
});
