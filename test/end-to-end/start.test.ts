import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
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
});
