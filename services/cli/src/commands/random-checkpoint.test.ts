import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { readConfig } from '@baton/hymba';
import { loadTokenizer } from '@baton/hymba/tokenizer';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { runBaton } from '../run-baton.ts';

describe('baton random-checkpoint', () => {
  let cwd: string;
  beforeEach(async () => {
    cwd = await mkdtemp(join(tmpdir(), 'baton-cli-'));
  });
  afterEach(() => rm(cwd, { recursive: true }));
  const write = (folder: string, ...options: string[]) =>
    runBaton(['random-checkpoint', '--like', 'hymba-stories-22m', ...options, folder], cwd);

  it('writes one that converts, whose tokenizer reads and writes any text', async () => {
    const run = await write('random', '--layers', '3');
    expect(run.stderr).toMatch(/^100 % (\S+ MB) of \1\n$/m);
    expect(run).toMatchObject({ code: 0, stdout: expect.stringContaining('BATON_MODEL=random npm start') });
    const config = await readConfig(join(cwd, 'random'));
    expect(config).toMatchObject({ layers: 3, vocabularySize: 4096 });
    expect(config.caches).toEqual([
      { kind: 'global', layers: [0] },
      { kind: 'sliding', layers: [1, 2] },
    ]);
    const converted = await runBaton(['convert', 'random', 'converted'], cwd);
    expect(converted).toMatchObject({ code: 0 });

    const tokenizer = await loadTokenizer(join(cwd, 'converted'));
    const text = 'A word, ünd 日本 \u{1f600}\n';
    expect(tokenizer.decode(tokenizer.encode(text))).toBe(text);
    expect(tokenizer.decode([4095])).toBe(' t4095');
    expect(tokenizer.size).toBe(4096);
    expect(tokenizer.eosTokenIds).toEqual([2]);
  });

  it('gives the same weights for the same seed only', async () => {
    for (const [folder, seed] of [
      ['a', '7'],
      ['b', '7'],
      ['c', '8'],
    ] as const) {
      expect(await write(folder, '--layers', '1', '--seed', seed)).toMatchObject({ code: 0 });
    }
    const [a, b, c] = await Promise.all(
      ['a', 'b', 'c'].map((folder) => readFile(join(cwd, folder, 'model.safetensors'))),
    );
    expect(a?.equals(b ?? Buffer.alloc(0))).toBe(true);
    expect(a?.equals(c ?? Buffer.alloc(0))).toBe(false);
  });

  it.each([
    ['a folder in use', ['.'], ['--layers', '1'], 'is not empty'],
    ['more layers than the model has', ['new'], ['--layers', '11'], 'has 10 layers'],
  ])('refuses %s by name', async (_, [folder = ''], options, named) => {
    await write('there', '--layers', '1');
    const run = await write(folder, ...options);
    expect(run).toMatchObject({ code: 1, stdout: '' });
    expect(run.stderr).toMatch(/^baton: .*\n$/);
    expect(run.stderr).toContain(named);
  });
});
