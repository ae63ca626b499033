import { execFile, execFileSync } from 'node:child_process';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';

const run = promisify(execFile);

/** Of Debian's package `prometheus`; `.ci/run` installs it. */
function hasPromtool(): boolean {
  try {
    execFileSync('promtool', ['--version'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

describe.skipIf(!hasPromtool())('promtool', () => {
  const promtool = async (...args: string[]) =>
    (await run('promtool', args, { cwd: import.meta.dirname })).stdout;

  it('takes the configuration and the rules', async () => {
    expect(await promtool('check', 'config', '--syntax-only', 'prometheus.yml')).toContain('SUCCESS');
    expect(await promtool('check', 'rules', 'rules.yml')).toContain('SUCCESS: 7 rules found');
  });

  it('sees each alert fire when it should, and not before', async () => {
    const { stdout, stderr } = await run('promtool', ['test', 'rules', 'rules.test.yml'], {
      cwd: import.meta.dirname,
    });
    expect(stdout + stderr).toContain('SUCCESS');
  });
});
