import { ServerError } from '@baton/errors';
import {
  buildFill,
  buildPad,
  buildStateReader,
  buildStateWriter,
  type HymbaConfig,
  moveNames,
  type WebGpuState,
  webGpuStates,
} from '@baton/hymba';
import { InferenceSession, Tensor } from 'onnxruntime-node';
import type { Capacity } from './gpu-rows.ts';

/** The states of so many sequences, by the names of the graphs' inputs. */
export interface GpuMemory {
  readonly sequences: number;
  readonly capacity: Capacity;
  readonly tensors: ReadonlyMap<string, Tensor>;
}

/**
 * Moves states about on the GPU, and between it and JavaScript's memory. A tensor's memory belongs to what allocated it,
 * so all of it is to be given back before `close`.
 */
export class GpuMover {
  readonly #states: readonly WebGpuState[];
  readonly #sessions: Readonly<Record<'fill' | 'pad' | 'read' | 'write', InferenceSession>>;

  static async open(config: HymbaConfig): Promise<GpuMover> {
    const open = (graph: Uint8Array, onGpu: readonly string[] = []) =>
      InferenceSession.create(graph, {
        executionProviders: ['webgpu'],
        ...(onGpu.length > 0 && {
          preferredOutputLocation: Object.fromEntries(onGpu.map((name) => [name, 'gpu-buffer'] as const)),
        }),
      });
    return new GpuMover(webGpuStates(config), {
      fill: await open(buildFill(), ['filled']),
      pad: await open(buildPad(), ['padded']),
      read: await open(buildStateReader(config)),
      write: await open(buildStateWriter(config)),
    });
  }

  private constructor(
    states: readonly WebGpuState[],
    sessions: Readonly<Record<'fill' | 'pad' | 'read' | 'write', InferenceSession>>,
  ) {
    this.#states = states;
    this.#sessions = sessions;
  }

  /** States before everything. */
  async allocate(sequences: number, capacity: Capacity): Promise<GpuMemory> {
    const tensors = new Map<string, Tensor>();
    for (const state of this.#states) tensors.set(state.past, await this.#blank(state, sequences, capacity));
    return { sequences, capacity, tensors };
  }

  /**
   * Why the GPU cannot hold states of so many sequences at once, for each number given, or null where it can. Tries it, with
   * a copy of the largest state on top, as `grow` makes one.
   */
  async problemWith(numbers: readonly number[], capacity: Capacity): Promise<string | null> {
    const taken: Tensor[] = [];
    const take = async (state: WebGpuState, sequences: number) => {
      const tensor = await this.#blank(state, sequences, capacity);
      taken.push(tensor);
      return tensor.size;
    };
    try {
      let largest = 0;
      for (const sequences of numbers) {
        for (const state of this.#states) largest = Math.max(largest, await take(state, sequences));
      }
      taken.push(await this.#filled(0, [largest]));
      return null;
    } catch (error) {
      return String(error);
    } finally {
      for (const tensor of taken) tensor.dispose();
    }
  }

  /** The same states with room for more rows; gives back the memory that they had. */
  async grow(memory: GpuMemory, capacity: Capacity): Promise<GpuMemory> {
    const tensors = new Map<string, Tensor>();
    for (const state of this.#states) {
      const { past, grows, blank } = state;
      const before = tensorOf(memory.tensors.get(past), past);
      const more = grows === null ? 0 : capacity[grows.kind] - memory.capacity[grows.kind];
      if (grows === null || more === 0) {
        tensors.set(past, before);
        continue;
      }
      const axis = grows.axis + 1;
      const [outer, inner] = [before.dims.slice(0, axis), before.dims.slice(axis + 1)];
      const { padded } = await this.#sessions.pad.run({
        x: viewOf(before, [product(outer), before.dims[axis] ?? 0, product(inner)]),
        pads: new Tensor('int64', BigInt64Array.from([0, 0, 0, 0, more, 0], BigInt), [6]),
        value: new Tensor('float32', Float32Array.of(blank), []),
      });
      before.dispose();
      tensors.set(past, viewOf(tensorOf(padded, past), dimsOf(state, memory.sequences, capacity)));
    }
    return { sequences: memory.sequences, capacity, tensors };
  }

  /** A copy of one sequence's states in JavaScript's memory. */
  async read(memory: GpuMemory, slot: number): Promise<Map<string, Float32Array>> {
    const outputs = await this.#sessions.read.run({ ...feedsOf(memory), slot: slotTensor(slot) });
    return new Map(
      this.#states.map(({ past, next }) => {
        const { data } = tensorOf(outputs[next], next);
        if (!(data instanceof Float32Array))
          throw new ServerError(`"${past}" could not be read from the GPU`);
        return [past, data] as const;
      }),
    );
  }

  /** Copies the states of one of many sequences into `single`, which is to have the same capacity. */
  async take(memory: GpuMemory, slot: number, single: GpuMemory): Promise<void> {
    await this.#sessions.read.run({ ...feedsOf(memory), slot: slotTensor(slot) }, this.#outputs(single));
  }

  /** Copies `single` to where the states of one of many sequences lie. */
  async put(single: GpuMemory, memory: GpuMemory, slot: number): Promise<void> {
    const singles = Object.fromEntries(
      this.#states.map(({ past }) => [moveNames.single(past), tensorOf(single.tensors.get(past), past)]),
    );
    await this.#sessions.write.run(
      { ...feedsOf(memory), ...singles, slot: slotTensor(slot) },
      this.#outputs(memory),
    );
  }

  /** Copies states from JavaScript's memory into `single`. */
  async upload(host: ReadonlyMap<string, Float32Array>, single: GpuMemory): Promise<void> {
    const feeds = this.#states.map((state) => {
      const values = host.get(state.past) ?? new Float32Array();
      return [state.past, new Tensor('float32', values, dimsOf(state, 1, single.capacity))] as const;
    });
    await this.#sessions.read.run(
      { ...Object.fromEntries(feeds), [moveNames.slot]: slotTensor(0) },
      this.#outputs(single),
    );
  }

  /** The outputs of a graph that writes states where `memory`'s first `sequences` lie. */
  outputsOf(
    memory: GpuMemory,
    sequences: number,
  ): { past: Record<string, Tensor>; next: Record<string, Tensor> } {
    const views = this.#states.map(({ past, next }) => {
      const tensor = tensorOf(memory.tensors.get(past), past);
      const view = viewOf(tensor, [sequences, ...tensor.dims.slice(1)]);
      return { past, next, view };
    });
    return {
      past: Object.fromEntries(views.map(({ past, view }) => [past, view])),
      next: Object.fromEntries(views.map(({ next, view }) => [next, view])),
    };
  }

  async close(): Promise<void> {
    for (const session of Object.values(this.#sessions)) await session.release();
  }

  #blank(state: WebGpuState, sequences: number, capacity: Capacity): Promise<Tensor> {
    return this.#filled(state.blank, dimsOf(state, sequences, capacity));
  }

  async #filled(value: number, dims: readonly number[]): Promise<Tensor> {
    const { filled } = await this.#sessions.fill.run({
      value: new Tensor('float32', Float32Array.of(value), [1]),
      size: new Tensor('int64', BigInt64Array.of(BigInt(product(dims))), [1]),
    });
    return viewOf(tensorOf(filled, 'filled'), dims);
  }

  #outputs(memory: GpuMemory): Record<string, Tensor> {
    return this.outputsOf(memory, memory.sequences).next;
  }
}

export function dispose({ tensors }: GpuMemory): void {
  for (const tensor of tensors.values()) tensor.dispose();
}

export function tensorOf(value: unknown, name: string): Tensor {
  if (value instanceof Tensor) return value;
  throw new ServerError(`the model gave no "${name}"`);
}

function dimsOf({ dims }: WebGpuState, sequences: number, capacity: Capacity): number[] {
  return [
    sequences,
    ...dims.map((dim) => {
      if (typeof dim === 'number') return dim;
      return dim === 'P_global' ? capacity.global : capacity.sliding;
    }),
  ];
}

/** The same memory, or the beginning of it, under other sizes. */
function viewOf(tensor: Tensor, dims: readonly number[]): Tensor {
  return Tensor.fromGpuBuffer(tensor.gpuBuffer, {
    dataType: 'float32',
    dims,
    dispose: () => tensor.dispose(),
  });
}

const product = (dims: readonly number[]): number => dims.reduce((size, dim) => size * dim, 1);
const slotTensor = (slot: number): Tensor => new Tensor('int32', Int32Array.of(slot), [1]);
const feedsOf = ({ tensors }: GpuMemory): Record<string, Tensor> => Object.fromEntries(tensors);
