import {
  appendFile,
  cp,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rm,
  truncate,
  utimes,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CheckpointError, ConfigurationError } from '@baton/errors';
import { goldenCheckpoint } from '@baton/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { convert } from './convert.ts';
import { openModel } from './converted-model.ts';
import { ensureConverted } from './ensure-converted.ts';
import { writeRandomCheckpoint } from './random-checkpoint.ts';
import { Checkpoint } from './safetensors/checkpoint.ts';
import { writeSafetensors } from './safetensors/write.ts';

const golden = goldenCheckpoint('shared-triple');
let folder: string;
let out: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'baton-convert-'));
  out = join(folder, 'out');
});

afterEach(() => rm(folder, { recursive: true, force: true }));

describe('convert', () => {
  it('writes a folder that opens, with the tokenizer beside the graphs', async () => {
    const progress: number[] = [];
    const model = await convert(golden, out, {
      onProgress: ({ bytesDone, bytesTotal }) => progress.push(bytesDone / bytesTotal),
    });
    expect(model).toMatchObject({
      folder: out,
      weightForm: 'fp32',
      kvCache: 'float32',
      config: { layers: 6, metaTokens: 12 },
    });
    expect((await readdir(out)).sort()).toEqual([
      'baton.json',
      'config.json',
      'decode.onnx',
      'prefill.onnx',
      'tokenizer.json',
      'tokenizer_config.json',
      'webgpu-decode.onnx',
      'webgpu-prefill.onnx',
      'weights.bin',
    ]);
    expect(await readdir(folder)).toEqual(['out']);
    expect(progress).toEqual([...progress].sort((a, b) => a - b));
    expect(progress.at(-1)).toBe(1);
  });

  it('gives the same fingerprint for the same weights, sharded or not, and another for others', async () => {
    const whole = join(folder, 'whole');
    const sharded = join(folder, 'sharded');
    await cp(golden, sharded, { recursive: true });
    await cp(golden, whole, { recursive: true });
    await shard(sharded);
    const { fingerprint } = await convert(whole, out);
    expect((await convert(sharded, join(folder, 'out-sharded'))).fingerprint).toBe(fingerprint);
    await flipLastByte(join(whole, 'model.safetensors'));
    expect((await convert(whole, join(folder, 'out-changed'))).fingerprint).not.toBe(fingerprint);
  });

  it('gives another fingerprint for another KV cache, since the states are others', async () => {
    const { fingerprint } = await convert(golden, out);
    const other = await convert(golden, `${out}-2`, { kvCache: 'float16' });
    expect(other.kvCache).toBe('float16');
    expect(other.fingerprint).not.toBe(fingerprint);
  });

  it('leaves nothing behind where it fails or is stopped in the middle', async () => {
    let calls = 0;
    const failing = convert(golden, out, {
      onProgress: () => {
        calls += 1;
        if (calls === 20) throw new Error('the disk is gone');
      },
    });
    await expect(failing).rejects.toThrow('the disk is gone');
    const stop = new AbortController();
    const stopped = convert(golden, out, {
      signal: stop.signal,
      onProgress: () => stop.abort(new Error('stop')),
    });
    await expect(stopped).rejects.toThrow('stop');
    expect(await readdir(folder)).toEqual([]);
  });

  it('names a tensor of the wrong shape before it writes anything', async () => {
    const wrong = join(folder, 'wrong');
    await cp(golden, wrong, { recursive: true });
    const config = JSON.parse(await readFile(join(wrong, 'config.json'), 'utf8'));
    await writeFile(join(wrong, 'config.json'), JSON.stringify({ ...config, intermediate_size: 177 }));
    const error = await convert(wrong, out).catch((error: unknown) => error);
    expect(error).toBeInstanceOf(CheckpointError);
    expect(error).toMatchObject({
      code: 'invalid_checkpoint',
      file: join(wrong, 'model.safetensors'),
      field: 'model.layers.0.moe.experts.0.gate_proj.weight',
    });
    expect(await readdir(folder)).toEqual(['wrong']);
  });

  it('takes turns with another conversion into the same folder, and keeps out of a folder of something else', async () => {
    const [one, other] = await Promise.all([convert(golden, out), convert(golden, out)]);
    expect(one).toEqual(other);
    expect(await readdir(folder)).toEqual(['out']);
    await expect(convert(goldenCheckpoint('no-sharing'), out)).rejects.toBeInstanceOf(ConfigurationError);
    expect((await openModel(out)).fingerprint).toBe(one.fingerprint);
  });

  it('keeps out of a folder with the same weights and another tokenizer, or none', async () => {
    const { tokenizer } = await convert(golden, out);
    const [another, none] = [join(folder, 'another'), join(folder, 'none')];
    for (const checkpoint of [another, none]) await cp(golden, checkpoint, { recursive: true });
    await appendFile(join(another, 'tokenizer.json'), '\n');
    await rm(join(none, 'tokenizer.json'));
    for (const checkpoint of [another, none]) {
      await expect(convert(checkpoint, out)).rejects.toBeInstanceOf(ConfigurationError);
    }
    expect((await openModel(out)).tokenizer).toBe(tokenizer);
    await convert(golden, out);
  });

  it('runs a random checkpoint of given sizes', async () => {
    const checkpoint = join(folder, 'random');
    const config = JSON.parse(await readFile(join(golden, 'config.json'), 'utf8'));
    await writeRandomCheckpoint(checkpoint, config);
    expect((await convert(checkpoint, out)).config).toEqual((await convert(golden, `${out}-2`)).config);
  });
});

describe('openModel refuses by name', () => {
  beforeEach(() => convert(golden, out).then(() => {}));

  it.each([
    {
      title: 'weights that are cut off',
      file: 'weights.bin',
      damage: (file: string) => truncate(file, 1000),
    },
    { title: 'a graph that was changed', file: 'decode.onnx', damage: flipLastByte },
    { title: 'a configuration that was changed', file: 'config.json', damage: flipLastByte },
    { title: 'a missing file', file: 'tokenizer.json', damage: (file: string) => rm(file) },
    { title: 'a missing manifest', file: 'baton.json', damage: (file: string) => rm(file) },
    {
      title: 'a manifest that is not JSON',
      file: 'baton.json',
      damage: (file: string) => appendFile(file, '}'),
    },
  ])('$title', async ({ file, damage }) => {
    await damage(join(out, file));
    await expect(openModel(out)).rejects.toMatchObject({ code: 'invalid_checkpoint', file: join(out, file) });
  });

  it('a folder of another format', async () => {
    const file = join(out, 'baton.json');
    const manifest = JSON.parse(await readFile(file, 'utf8'));
    await writeFile(file, JSON.stringify({ ...manifest, format: 0 }));
    await expect(openModel(out)).rejects.toMatchObject({ code: 'invalid_checkpoint', file, field: 'format' });
  });
});

describe('ensureConverted', () => {
  let cache: string;
  let checkpoint: string;

  beforeEach(async () => {
    cache = join(folder, 'cache');
    checkpoint = join(folder, 'checkpoint');
    await cp(golden, checkpoint, { recursive: true });
  });

  /** Says whether it converted. */
  const ensure = async (model = checkpoint) => {
    let converted = false;
    const { folder, fingerprint } = await ensureConverted(model, cache, {
      onProgress: () => {
        converted = true;
      },
    });
    return { folder, fingerprint, converted };
  };

  it('converts a checkpoint once, however many ask and under whatever path', async () => {
    const both = await Promise.all([ensure(), ensure()]);
    expect(both.map(({ converted }) => converted).sort()).toEqual([false, true]);
    expect(await ensure()).toMatchObject({ converted: false, folder: both[0].folder });
    const copy = join(folder, 'copy');
    await cp(checkpoint, copy, { recursive: true });
    expect(await ensure(copy)).toMatchObject({ converted: false, folder: both[0].folder });
  });

  it('uses a converted folder as it is', async () => {
    await convert(checkpoint, out);
    expect(await ensure(out)).toMatchObject({ converted: false, folder: out });
  });

  it('keeps what differs in weights or KV cache apart, and refuses a converted folder of another', async () => {
    const forms = [
      {},
      { kvCache: 'float16' },
      { weights: 'int4' },
      { weights: 'int4-32' },
      { weights: 'int4', kvCache: 'float32' },
    ] as const;
    const models = [];
    for (const form of forms) models.push(await ensureConverted(checkpoint, cache, form));
    expect(models.map(({ weightForm, kvCache }) => `${weightForm} ${kvCache}`)).toEqual([
      'fp32 float32',
      'fp32 float16',
      'int4 float16',
      'int4-32 float16',
      'int4 float32',
    ]);
    expect(new Set(models.map(({ folder }) => folder)).size).toBe(forms.length);
    const there = String(models[0]?.folder);
    await expect(ensureConverted(there, cache, { kvCache: 'float16' })).rejects.toThrow(
      /float32 KV cache already; for float16/,
    );
    await expect(ensureConverted(there, cache, { weights: 'int4' })).rejects.toThrow(/fp32 already/);
  });

  it('notices a checkpoint that changed in place, even to the same size and time', async () => {
    const first = await ensure();
    const file = join(checkpoint, 'model.safetensors');
    await utimes(file, 1000, 1000);
    await ensure();
    await flipLastByte(file);
    await utimes(file, 1000, 1000);
    const second = await ensure();
    expect(second.converted).toBe(true);
    expect(second.fingerprint).not.toBe(first.fingerprint);
  });

  it('converts again what was damaged, and clears what a dead conversion left', async () => {
    const first = await ensure();
    await truncate(join(first.folder, 'weights.bin'), 1000);
    const leftover = join(cache, `.${first.folder.split('/').at(-1)}.0000.partial`);
    await mkdir(leftover);
    expect(await ensure()).toEqual(first);
    expect((await readdir(cache)).filter((name) => name.endsWith('.partial'))).toEqual([]);
  });

  it('names what is wrong with a folder that is no model', async () => {
    const empty = join(folder, 'empty');
    await mkdir(empty);
    await expect(ensure(empty)).rejects.toMatchObject({
      code: 'invalid_checkpoint',
      file: join(empty, 'config.json'),
    });
  });
});

async function flipLastByte(file: string): Promise<void> {
  const bytes = await readFile(file);
  const last = bytes.length - 1;
  bytes.writeUInt8(bytes.readUInt8(last) ^ 1, last);
  await writeFile(file, bytes);
}

/** Splits a checkpoint's file in two with an index, and removes it. */
async function shard(checkpointDir: string): Promise<void> {
  const shards = ['model-00001-of-00002.safetensors', 'model-00002-of-00002.safetensors'] as const;
  const weights: Record<string, string> = {};
  {
    await using checkpoint = await Checkpoint.open(checkpointDir);
    const tensors = await Promise.all(
      [...checkpoint.tensors].map(async ({ name, shape }) => {
        const values = await checkpoint.floats(name);
        return { name, shape, dtype: 'BF16' as const, values: () => [values] };
      }),
    );
    const half = Math.floor(tensors.length / 2);
    for (const [index, file] of shards.entries()) {
      const part = index === 0 ? tensors.slice(0, half) : tensors.slice(half);
      await writeSafetensors(join(checkpointDir, file), part);
      for (const { name } of part) weights[name] = file;
    }
  }
  await rm(join(checkpointDir, 'model.safetensors'));
  const index = join(checkpointDir, 'model.safetensors.index.json');
  await writeFile(index, JSON.stringify({ weight_map: weights }));
}
