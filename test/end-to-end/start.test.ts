import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { OtlpReceiver } from '@baton/testing/otlp-receiver';
import { describe, expect, it } from 'vitest';
import { freePort } from '../support/processes.ts';

const root = fileURLToPath(new URL('../../', import.meta.url));
const run = promisify(execFile);

/** Processes whose environment names `dataDir`: everything that one `npm start` has started. */
async function processesOf(dataDir: string): Promise<string[]> {
  const found: string[] = [];
  for (const pid of (await readdir('/proc')).filter((name) => /^\d+$/.test(name))) {
    const read = (file: string) => readFile(`/proc/${pid}/${file}`, 'utf8').catch(() => '');
    const [environ, cmdline] = await Promise.all([read('environ'), read('cmdline')]);
    if (`${environ}${cmdline}`.includes(dataDir)) found.push(cmdline.replaceAll('\0', ' '));
  }
  return found;
}

describe('npm start', () => {
  it('comes up, offers three commands that work, and leaves nothing running', async () => {
    const dataDir = await mkdtemp(join(tmpdir(), 'baton-start-'));
    const port = await freePort();
    const launcher = spawn('npm', ['start'], {
      cwd: root,
      env: { ...process.env, BATON_DATA_DIR: dataDir, BATON_PORT: String(port) },
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: true,
    });
    const exit = once(launcher, 'exit');
    let output = '';
    for (const stream of [launcher.stdout, launcher.stderr]) {
      stream.setEncoding('utf8').on('data', (text: string) => {
        output += text;
      });
    }
    try {
      const commands = await new Promise<string[]>((resolve, reject) => {
        launcher.stdout.on('data', () => {
          const offered = output.split('\n').filter((line) => /^\s+(curl|node) /.test(line));
          if (offered.length === 3) resolve(offered);
        });
        void exit.then(() => reject(new Error(`npm start ended:\n${output}`)));
      });
      expect(output).toContain(`http://127.0.0.1:${port}`);
      expect((await processesOf(dataDir)).length).toBeGreaterThanOrEqual(5);
      for (const command of commands) {
        const { stdout } = await run('bash', ['-c', command], { cwd: root });
        expect(stdout.length, `${command}\n${stdout}`).toBeGreaterThan(80);
      }
    } finally {
      process.kill(-(launcher.pid ?? 0), 'SIGINT');
      await exit;
    }
    expect(launcher.exitCode, output).toBe(0);
    expect(await processesOf(dataDir)).toEqual([]);
    await rm(dataDir, { recursive: true });
  });

  it('lets a gateway wait for its clients and send its last metrics when it is stopped', async () => {
    const receiver = await OtlpReceiver.start();
    const dataDir = await mkdtemp(join(tmpdir(), 'baton-start-'));
    const port = await freePort();
    const launcher = spawn('npm', ['start'], {
      cwd: root,
      env: {
        ...process.env,
        ...receiver.env,
        BATON_DATA_DIR: dataDir,
        BATON_PORT: String(port),
        BATON_WORKERS: '1',
        BATON_SHUTDOWN_TIMEOUT: '0',
        // Longer than a launcher would wait that does not know of it.
        BATON_DISCONNECT_GRACE: '4',
      },
      stdio: ['ignore', 'pipe', 'inherit'],
      detached: true,
    });
    const exit = once(launcher, 'exit');
    try {
      for await (const line of createInterface(launcher.stdout)) if (/^\s+node /.test(line)) break;
      const body = {
        model: 'hymba-stories-22m',
        input: 'Once',
        stream: true,
        store: false,
        ignore_eos: true,
      };
      const response = await fetch(`http://127.0.0.1:${port}/v1/responses`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ ...body, max_output_tokens: 900 }),
      });
      expect(response.status).toBe(200);
      void response.text().catch(() => {});
    } finally {
      process.kill(-(launcher.pid ?? 0), 'SIGINT');
      await exit;
    }
    // The first export on a timer would come after a minute.
    const senders = receiver.points.map(({ resource }) => resource['service.name']);
    expect([...new Set(senders)].toSorted()).toEqual(['baton-gateway', 'baton-worker']);
    await receiver.stop();
    await rm(dataDir, { recursive: true });
  });
});
