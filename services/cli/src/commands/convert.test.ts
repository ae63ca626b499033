import { cp, mkdtemp, readdir, rm, truncate } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { openModel, weightForms } from '@baton/hymba';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { formatBytes } from '../format-bytes.ts';
import { runBaton } from '../run-baton.ts';

const golden = fileURLToPath(
  new URL('../../../../packages/testing/fixtures/golden/shared-pairs', import.meta.url),
);

describe('baton convert', () => {
  let cwd: string;
  beforeEach(async () => {
    cwd = await mkdtemp(join(tmpdir(), 'baton-cli-'));
    await cp(golden, join(cwd, 'checkpoint'), { recursive: true });
  });
  afterEach(() => rm(cwd, { recursive: true }));

  it.each(weightForms)('converts a checkpoint to %s and says what to do next', async (weights) => {
    const run = await runBaton(['convert', '--weights', weights, 'checkpoint', 'converted'], cwd);
    expect(run.stderr).toMatch(/^100 % (\S+ MB) of \1\n$/m);
    const model = await openModel(join(cwd, 'converted'));
    expect(model.weightForm).toBe(weights);
    expect(model.kvCache).toBe(weights === 'fp32' ? 'float32' : 'float16');
    expect(run.stdout).toBe(
      `The converted model (${weights} weights, ${model.kvCache} KV cache, ${formatBytes(model.weightBytes)}) is in converted. ` +
        'Serve it with: BATON_MODEL=converted npm start\n',
    );
    expect(run.code).toBe(0);
  });

  it.each([
    ['a folder that is not there', ['convert', 'nowhere', 'converted'], 'nowhere'],
    ['a folder that is in use', ['convert', 'checkpoint', '.'], 'already holds something else'],
    ['damaged weights', ['convert', 'checkpoint', 'converted'], 'model.safetensors'],
  ])('answers %s with one line that names it, and exit code 1', async (what, args, named) => {
    if (what === 'damaged weights') await truncate(join(cwd, 'checkpoint/model.safetensors'), 10_000);
    const run = await runBaton(args, cwd);
    expect(run.code).toBe(1);
    expect(run.stdout).toBe('');
    const lines = run.stderr.split('\n').filter((line) => line !== '' && !/^\d+ %/.test(line));
    expect(lines).toEqual([expect.stringMatching(/^baton: /)]);
    expect(lines[0]).toContain(named);
    expect(await readdir(cwd)).toEqual(['checkpoint']);
  });
});
