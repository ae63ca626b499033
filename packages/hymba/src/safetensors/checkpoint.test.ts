import { mkdtemp, readFile, rename, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Checkpoint } from './checkpoint.ts';
import { type TensorSource, writeSafetensors } from './write.ts';

let folder: string;
let file: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'baton-safetensors-'));
  file = join(folder, 'model.safetensors');
});

afterEach(() => rm(folder, { recursive: true, force: true }));

function tensor(name: string, dtype: TensorSource['dtype'], ...values: number[]): TensorSource {
  return { name, dtype, shape: [values.length / 2, 2], values: () => [Float32Array.from(values)] };
}

/** A file with this header, and `bytes` of data after it. */
async function writeRaw(header: unknown, bytes: number): Promise<void> {
  const json = Buffer.from(typeof header === 'string' ? header : JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(json.length));
  await writeFile(file, Buffer.concat([length, json, Buffer.alloc(bytes)]));
}

const opened = async () => {
  await using checkpoint = await Checkpoint.open(folder);
  return [...checkpoint.tensors].map(({ name }) => name);
};

describe('a single file', () => {
  it('gives back what was written, in blocks of any size', async () => {
    await writeSafetensors(file, [
      tensor('a', 'F32', 1, 2, 3, 4, 5, 6),
      tensor('b', 'BF16', 0.5, -8),
      tensor('c', 'F16', 0.25, 7),
    ]);
    await using checkpoint = await Checkpoint.open(folder);
    expect([...checkpoint.tensors].map(({ name, shape, dtype }) => ({ name, shape, dtype }))).toEqual([
      { name: 'a', shape: [3, 2], dtype: 'F32' },
      { name: 'b', shape: [1, 2], dtype: 'BF16' },
      { name: 'c', shape: [1, 2], dtype: 'F16' },
    ]);
    const blocks: number[][] = [];
    for await (const block of checkpoint.readFloats('a', 4)) blocks.push([...block]);
    expect(blocks).toEqual([
      [1, 2, 3, 4],
      [5, 6],
    ]);
    expect([...(await checkpoint.floats('b'))]).toEqual([0.5, -8]);
    expect([...(await checkpoint.floats('c'))]).toEqual([0.25, 7]);
  });

  it('refuses to be written with more or fewer elements than its shape', async () => {
    await expect(writeSafetensors(file, [{ ...tensor('a', 'F32', 1, 2), shape: [3, 2] }])).rejects.toThrow(
      RangeError,
    );
  });

  it('names a tensor that is missing, of another shape, or not of floats', async () => {
    await writeRaw(
      {
        w: { dtype: 'F32', shape: [2, 2], data_offsets: [0, 16] },
        ids: { dtype: 'I64', shape: [1], data_offsets: [16, 24] },
      },
      24,
    );
    await using checkpoint = await Checkpoint.open(folder);
    const refusal = (name: string, shape: number[]) => {
      try {
        checkpoint.expectFloats(name, shape);
      } catch (error) {
        return error;
      }
      return 'accepted';
    };
    expect(refusal('w', [2, 2])).toBe('accepted');
    expect(refusal('w', [4])).toMatchObject({ code: 'invalid_checkpoint', file, field: 'w' });
    expect(refusal('v', [4])).toMatchObject({ code: 'invalid_checkpoint', file, field: 'v' });
    expect(refusal('ids', [1])).toMatchObject({ code: 'unsupported_checkpoint', file, field: 'ids' });
  });
});

describe('a damaged file is refused by name', () => {
  const w = { dtype: 'F32', shape: [2], data_offsets: [0, 8] };
  it.each([
    { title: 'a tensor past the end', header: { w }, bytes: 7, field: 'w' },
    { title: 'bytes that belong to no tensor', header: { w }, bytes: 9, field: null },
    { title: 'a shape that needs more bytes', header: { w: { ...w, shape: [3] } }, bytes: 8, field: 'w' },
    { title: 'a dtype that is unknown', header: { w: { ...w, dtype: 'F12' } }, bytes: 8, field: 'w' },
    { title: 'a negative size', header: { w: { ...w, shape: [-2] } }, bytes: 8, field: 'w' },
    {
      title: 'offsets that run backwards',
      header: { w: { ...w, data_offsets: [8, 0] } },
      bytes: 8,
      field: 'w',
    },
    {
      title: 'tensors that overlap',
      header: { w, v: { ...w, data_offsets: [4, 12] } },
      bytes: 12,
      field: 'v',
    },
    {
      title: 'a hole between tensors',
      header: { w, v: { ...w, data_offsets: [12, 20] } },
      bytes: 20,
      field: 'v',
    },
    { title: 'a header that is not JSON', header: '{"w":', bytes: 8, field: null },
    { title: 'a header that is a list', header: '[]', bytes: 0, field: null },
  ])('$title', async ({ header, bytes, field }) => {
    await writeRaw(header, bytes);
    await expect(opened()).rejects.toMatchObject({ code: 'invalid_checkpoint', file, field });
  });

  it('cut off anywhere', async () => {
    await writeSafetensors(file, [tensor('a', 'F32', 1, 2), tensor('b', 'F32', 3, 4)]);
    const { length } = await readFile(file);
    for (const size of [length - 1, length - 9, 40, 8, 3, 0]) {
      await truncate(file, size);
      await expect(opened(), `${size} bytes`).rejects.toMatchObject({ code: 'invalid_checkpoint', file });
    }
  });

  it('that claims a header larger than itself', async () => {
    await writeFile(file, Buffer.concat([Buffer.from('ffffffffffffff7f', 'hex'), Buffer.alloc(100)]));
    await expect(opened()).rejects.toMatchObject({ code: 'invalid_checkpoint', file });
  });

  it('or is not there', async () => {
    await expect(opened()).rejects.toMatchObject({ code: 'invalid_checkpoint', file });
  });
});

describe('a sharded checkpoint', () => {
  const index = (weights: unknown) =>
    writeFile(join(folder, 'model.safetensors.index.json'), JSON.stringify({ weight_map: weights }));
  const shard = (number: number) => `model-0000${number}-of-00002.safetensors`;

  beforeEach(async () => {
    await writeSafetensors(join(folder, shard(1)), [tensor('a', 'F32', 1, 2)]);
    await writeSafetensors(join(folder, shard(2)), [tensor('b', 'BF16', 3, 4)]);
  });

  it('is read as one', async () => {
    await index({ a: shard(1), b: shard(2) });
    await using checkpoint = await Checkpoint.open(folder);
    expect(checkpoint.files).toEqual([shard(1), shard(2)]);
    expect([...(await checkpoint.floats('a')), ...(await checkpoint.floats('b'))]).toEqual([1, 2, 3, 4]);
  });

  it('names the shard and the tensor that the index promises in vain', async () => {
    await index({ a: shard(1), c: shard(2) });
    await expect(opened()).rejects.toMatchObject({ file: join(folder, shard(2)), field: 'c' });
    await rename(join(folder, shard(2)), join(folder, 'elsewhere'));
    await expect(opened()).rejects.toMatchObject({ file: join(folder, shard(2)) });
  });

  it.each([
    { title: 'leads out of the folder', weights: { a: '../other.safetensors' } },
    { title: 'is empty', weights: {} },
    { title: 'is not a map', weights: ['a'] },
  ])('refuses an index that $title', async ({ weights }) => {
    await index(weights);
    const file = join(folder, 'model.safetensors.index.json');
    await expect(opened()).rejects.toMatchObject({ code: 'invalid_checkpoint', file });
  });
});
