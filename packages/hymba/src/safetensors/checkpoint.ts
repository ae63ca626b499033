import { type FileHandle, open } from 'node:fs/promises';
import { join } from 'node:path';
import { CheckpointError } from '@baton/errors';
import { decodeFloats, type FloatFormat, floatBytes } from './float-formats.ts';
import { readExactly, readHeader, type TensorEntry } from './header.ts';
import { shardsOf } from './shards.ts';

interface OpenTensor extends TensorEntry {
  readonly file: string;
  readonly handle: FileHandle;
}

/** The tensors of a checkpoint folder: one `model.safetensors`, or shards listed in its index. Dispose of it after use. */
export class Checkpoint implements AsyncDisposable {
  readonly folder: string;
  /** Names of the files that hold the tensors, relative to the folder. */
  readonly files: readonly string[];
  readonly #tensors: ReadonlyMap<string, OpenTensor>;
  readonly #handles: readonly FileHandle[];

  /**
   * Opens the model's files, or the one called `file`, and checks their headers. Throws `CheckpointError` for a damaged or
   * missing file or tensor.
   */
  static async open(folder: string, file?: string): Promise<Checkpoint> {
    const shards = file === undefined ? await shardsOf(folder) : new Map([[file, []]]);
    const handles: FileHandle[] = [];
    const tensors = new Map<string, OpenTensor>();
    try {
      for (const [name, expected] of shards) {
        const file = join(folder, name);
        const handle = await open(file).catch((error: NodeJS.ErrnoException) => {
          throw new CheckpointError('invalid_checkpoint', `${file} cannot be read (${error.code})`, { file });
        });
        handles.push(handle);
        const entries = await readHeader(handle, file);
        for (const entry of entries) tensors.set(entry.name, { ...entry, file, handle });
        const missing = expected.find((tensor) => tensors.get(tensor)?.file !== file);
        if (missing !== undefined) throw missingTensor(file, missing);
      }
      return new Checkpoint(folder, [...shards.keys()], tensors, handles);
    } catch (error) {
      await Promise.all(handles.map((handle) => handle.close()));
      throw error;
    }
  }

  private constructor(
    folder: string,
    files: readonly string[],
    tensors: ReadonlyMap<string, OpenTensor>,
    handles: readonly FileHandle[],
  ) {
    this.folder = folder;
    this.files = files;
    this.#tensors = tensors;
    this.#handles = handles;
  }

  get tensors(): Iterable<TensorEntry> {
    return this.#tensors.values();
  }

  /** Throws `CheckpointError` unless the tensor is there, holds floats and has `shape`. */
  expectFloats(name: string, shape: readonly number[]): void {
    const tensor = this.#find(name);
    this.#floatFormat(tensor);
    if (tensor.shape.length === shape.length && tensor.shape.every((dim, axis) => dim === shape[axis]))
      return;
    throw new CheckpointError(
      'invalid_checkpoint',
      `${tensor.file}: tensor "${name}" has shape [${tensor.shape}]; config.json asks for [${shape}]`,
      { file: tensor.file, field: name },
    );
  }

  /** The tensor's elements as float32, in order, in blocks of at most `blockElements`. A block is reused for the next. */
  async *readFloats(name: string, blockElements = 1 << 20): AsyncGenerator<Float32Array<ArrayBuffer>> {
    const tensor = this.#find(name);
    const format = this.#floatFormat(tensor);
    const size = floatBytes[format];
    const total = tensor.bytes / size;
    const block = new Float32Array(Math.min(total, blockElements));
    for (let at = 0; at < total; at += block.length) {
      const part = block.subarray(0, Math.min(block.length, total - at));
      const bytes = await readExactly(tensor.handle, tensor.begin + at * size, part.length * size);
      decodeFloats(bytes, format, part);
      yield part;
    }
  }

  /** A whole tensor as float32, for small ones. */
  async floats(name: string): Promise<Float32Array<ArrayBuffer>> {
    const elements = this.#find(name).shape.reduce((product, dim) => product * dim, 1);
    for await (const block of this.readFloats(name, elements)) return block;
    return new Float32Array(0);
  }

  /** A whole tensor's bytes as they are in the file. */
  async bytes(name: string): Promise<Uint8Array> {
    const { handle, begin, bytes } = this.#find(name);
    return readExactly(handle, begin, bytes);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#handles.map((handle) => handle.close()));
  }

  #find(name: string): OpenTensor {
    const tensor = this.#tensors.get(name);
    if (!tensor) throw missingTensor(join(this.folder, this.files[0] ?? ''), name);
    return tensor;
  }

  #floatFormat({ name, dtype, file }: OpenTensor): FloatFormat {
    if (dtype in floatBytes) return dtype as FloatFormat;
    throw new CheckpointError(
      'unsupported_checkpoint',
      `${file}: tensor "${name}" is ${dtype}; weights must be ${Object.keys(floatBytes).join(', ')}`,
      { file, field: name },
    );
  }
}

function missingTensor(file: string, tensor: string): CheckpointError {
  return new CheckpointError('invalid_checkpoint', `${file}: tensor "${tensor}" is missing`, {
    file,
    field: tensor,
  });
}
