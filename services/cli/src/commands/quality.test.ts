import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { goldenCheckpoint, tinyStoriesCheckpoint, validationStories } from '@baton/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { runBaton } from '../run-baton.ts';

const tiny = tinyStoriesCheckpoint();

describe('baton quality', () => {
  let cwd: string;
  beforeEach(async () => {
    cwd = await mkdtemp(join(tmpdir(), 'baton-cli-'));
  });
  afterEach(() => rm(cwd, { recursive: true }));

  it('measures every weight form of a checkpoint, of which none loses much', async () => {
    const run = await runBaton(['quality', tiny, '--text', validationStories(), '--documents', '3'], cwd);
    expect(run).toMatchObject({ code: 0, stderr: expect.stringContaining('100 % document 3 of 3') });
    const [fp32, int8, int4, int4By32] = rowsOf(run.stdout);
    expect(fp32).toMatchObject({ weights: 'fp32', kvCache: 'float32', nats: 2.618, kl: Number.NaN });
    expect(int8).toMatchObject({ weights: 'int8', kvCache: 'float16', nats: expect.closeTo(2.618, 2) });
    expect(int8?.kl).toBeLessThan(0.001);
    expect(int4).toMatchObject({ weights: 'int4', nats: expect.closeTo(2.618, 1) });
    expect(int4?.kl).toBeLessThan(0.01);
    expect(int4By32).toMatchObject({ weights: 'int4-32', nats: expect.closeTo(2.618, 1) });
    expect(int4By32?.kl).toBeLessThan(int4?.kl ?? 0);
    expect(int4By32?.kl).toBeGreaterThan(int8?.kl ?? 0);
  });

  it('tells what a float16 KV cache costs, which is next to nothing', async () => {
    const options = ['--text', validationStories(), '--documents', '3', '--kv-cache', 'float16'];
    const run = await runBaton(['quality', tiny, ...options], cwd);
    const [fp32] = rowsOf(run.stdout);
    expect(fp32).toMatchObject({ weights: 'fp32', kvCache: 'float16', nats: expect.closeTo(2.618, 3) });
    expect(fp32?.kl).toBeLessThan(1e-5);
  });

  it('measures a converted model by itself, and against another', async () => {
    await runBaton(['convert', '--weights', 'int8', tiny, 'int8'], cwd);
    const options = ['--text', 'words.txt', '--tokens', '20'];
    await writeFile(
      join(cwd, 'words.txt'),
      'Once upon a time, there was a boat.\n<|endoftext|>\nOnce there was a cat.\n',
    );
    const alone = await runBaton(['quality', 'int8', ...options], cwd);
    expect(rowsOf(alone.stdout)).toEqual([expect.objectContaining({ weights: 'int8', kl: Number.NaN })]);
    const beside = await runBaton(['quality', 'int8', '--against', tiny, ...options], cwd);
    const [row] = rowsOf(beside.stdout);
    expect(row?.nats).toBe(rowsOf(alone.stdout)[0]?.nats);
    expect(row?.kl).toBeLessThan(0.005);
  });

  it.each([
    ['a text that is not there', [tiny, '--text', 'nowhere.txt'], 'nowhere.txt cannot be read (ENOENT)'],
    ['a text without documents', [tiny, '--text', 'empty.txt'], 'empty.txt has no documents'],
    [
      'a model of another vocabulary',
      [goldenCheckpoint('no-sharing'), '--against', tiny, '--text', 'words.txt'],
      'has another vocabulary',
    ],
  ])('answers %s with one line that names it, and exit code 1', async (_, args, named) => {
    await writeFile(join(cwd, 'empty.txt'), '\n<|endoftext|>\n');
    await writeFile(join(cwd, 'words.txt'), 'one');
    const run = await runBaton(['quality', ...args], cwd);
    expect(run).toMatchObject({ code: 1, stdout: '' });
    expect(run.stderr).toMatch(/^baton: .*\n$/);
    expect(run.stderr).toContain(named);
  });
});

function rowsOf(table: string) {
  return table
    .trim()
    .split('\n')
    .slice(1)
    .map((line) => {
      const [weights, kvCache, , , nats, , , kl] = line.trim().split(/\s+/);
      return { weights, kvCache, nats: Number(nats), kl: Number(kl) };
    });
}
