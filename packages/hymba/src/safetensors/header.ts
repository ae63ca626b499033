import type { FileHandle } from 'node:fs/promises';
import { CheckpointError } from '@baton/errors';
import { z } from 'zod';

/** Bytes per element of the formats that safetensors files may hold. */
export const dtypeBytes = {
  BOOL: 1,
  U8: 1,
  I8: 1,
  U16: 2,
  I16: 2,
  F16: 2,
  BF16: 2,
  U32: 4,
  I32: 4,
  F32: 4,
  U64: 8,
  I64: 8,
  F64: 8,
} as const;
export type Dtype = keyof typeof dtypeBytes;

/** Where a tensor lies: `begin` is counted from the start of the file. */
export interface TensorEntry {
  readonly name: string;
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  readonly begin: number;
  readonly bytes: number;
}

const entrySchema = z.object({
  dtype: z.enum(Object.keys(dtypeBytes) as [Dtype, ...Dtype[]]),
  shape: z.array(z.int().nonnegative()),
  data_offsets: z.tuple([z.int().nonnegative(), z.int().nonnegative()]),
});

/** The format's own limit, against reading a header of absurd size from a damaged file. */
const maxHeaderBytes = 100_000_000;

/**
 * Reads and checks the header of an open safetensors file: every tensor's bytes lie in the file, fit its shape, and tile
 * the data without overlap or hole. Throws `CheckpointError` naming file and tensor.
 * Format: https://github.com/huggingface/safetensors#format
 */
export async function readHeader(handle: FileHandle, file: string): Promise<TensorEntry[]> {
  const damaged = (message: string, tensor?: string) =>
    new CheckpointError('invalid_checkpoint', `${file}: ${message}`, {
      file,
      ...(tensor !== undefined && { field: tensor }),
    });

  const { size } = await handle.stat();
  if (size < 8) throw damaged(`it has ${size} bytes, too few for a safetensors header`);
  const length = Number((await readExactly(handle, 0, 8)).readBigUInt64LE());
  if (length > Math.min(maxHeaderBytes, size - 8)) {
    throw damaged(
      `its header claims ${length} bytes, but the file has ${size}: not safetensors, or truncated`,
    );
  }
  let json: unknown;
  try {
    json = JSON.parse((await readExactly(handle, 8, length)).toString('utf8'));
  } catch {
    throw damaged('its header is not JSON');
  }
  if (typeof json !== 'object' || json === null || Array.isArray(json)) {
    throw damaged('its header is not a JSON object');
  }

  const dataBegin = 8 + length;
  const entries: TensorEntry[] = [];
  for (const [name, value] of Object.entries(json)) {
    if (name === '__metadata__') continue;
    const parsed = entrySchema.safeParse(value);
    if (!parsed.success) {
      const issue = parsed.error.issues[0];
      throw damaged(`tensor "${name}": ${issue?.path.join('.')}: ${issue?.message}`, name);
    }
    const { dtype, shape, data_offsets: offsets } = parsed.data;
    const bytes = offsets[1] - offsets[0];
    const needed = shape.reduce((product, dim) => product * dim, dtypeBytes[dtype]);
    if (bytes !== needed) {
      throw damaged(`tensor "${name}" has ${bytes} bytes; ${dtype} [${shape}] needs ${needed}`, name);
    }
    if (dataBegin + offsets[1] > size) {
      throw damaged(
        `tensor "${name}" ends at byte ${dataBegin + offsets[1]}, but the file has ${size}: truncated`,
        name,
      );
    }
    entries.push({ name, dtype, shape, begin: dataBegin + offsets[0], bytes });
  }

  entries.sort((a, b) => a.begin - b.begin || a.bytes - b.bytes);
  let end = dataBegin;
  for (const { name, begin, bytes } of entries) {
    if (begin < end) throw damaged(`tensor "${name}" overlaps the one before it`, name);
    if (begin > end) throw damaged(`there is a hole of ${begin - end} bytes before tensor "${name}"`, name);
    end = begin + bytes;
  }
  if (end !== size) throw damaged(`${size - end} bytes after the last tensor belong to none`);
  return entries;
}

/** Reads `length` bytes at `position`; the caller has checked that the file has them. */
export async function readExactly(handle: FileHandle, position: number, length: number): Promise<Buffer> {
  const buffer = Buffer.allocUnsafe(length);
  let done = 0;
  while (done < length) {
    const { bytesRead } = await handle.read(buffer, done, length - done, position + done);
    if (bytesRead === 0) throw new RangeError(`file ended at byte ${position + done}`);
    done += bytesRead;
  }
  return buffer;
}
