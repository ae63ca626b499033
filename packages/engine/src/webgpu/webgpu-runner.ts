import { join } from 'node:path';
import { BatonError, ConfigurationError, ServerError } from '@baton/errors';
import {
  buildStateReader,
  type ConvertedModel,
  graphFiles,
  graphNames,
  type HymbaConfig,
  openModel,
  type WebGpuState,
  webGpuStates,
} from '@baton/hymba';
import { InferenceSession, Tensor } from 'onnxruntime-node';
import type { Runner, StateStep, Step } from '../batch/runner.ts';
import { checkStep } from '../check-step.ts';
import type { EngineModel } from '../engine.ts';
import { checkSessionState, type SessionState, type StateDelta, tokensOf } from '../state/session-state.ts';
import { type StateLayout, stateLayout } from '../state/state-layout.ts';
import type { SavedPart } from '../state/state-pool.ts';
import { slotBytes } from '../state/state-size.ts';
import { gpuCapacity } from './gpu-rows.ts';
import { openOnGpu } from './open-on-gpu.ts';
import { stepInputs } from './step-inputs.ts';
import { type GpuMemory, toGpu, toMemory } from './transfer.ts';

export interface WebGpuRunnerOptions {
  /** Sequences that it has room for. */
  readonly slots?: number;
  /** Hears what is being done while the model opens. */
  readonly onProgress?: (stage: string) => void;
}

/** One sequence's state. */
export interface GpuSequence {
  /** Positions held, meta tokens included: the next token's position. */
  readonly length: number;
  readonly memory: GpuMemory;
}

type OwnSequence = { -readonly [Field in keyof GpuSequence]: GpuSequence[Field] };

/**
 * A converted model on a GPU, through WebGPU. A sequence's state stays there from step to step: what one step gives is
 * what the next one takes, and only logits come back. Sequences run one after another.
 */
export class WebGpuRunner implements Runner<GpuSequence> {
  readonly model: EngineModel;
  readonly layout: StateLayout;
  readonly slots: number;
  readonly #config: HymbaConfig;
  readonly #states: readonly WebGpuState[];
  readonly #graph: InferenceSession;
  readonly #reader: InferenceSession;
  readonly #sequences = new Set<GpuSequence>();
  /** Where every sequence begins: right after the meta tokens. */
  #start: readonly SavedPart[] = [];

  /**
   * Opens a converted model's folder. Throws `CheckpointError` for one that is damaged, or that has an operator which
   * would not run on the GPU, `ConfigurationError` for one with int8 weights.
   */
  static async open(folder: string, options: WebGpuRunnerOptions = {}): Promise<WebGpuRunner> {
    const { slots = 1, onProgress = () => {} } = options;
    onProgress('checking the files');
    const converted = await openModel(folder);
    if (converted.weightForm === 'int8') {
      throw new ConfigurationError(
        `${folder} has int8 weights, which WebGPU cannot multiply; set BATON_WEIGHTS to int4 or fp32, or BATON_DEVICE to cpu`,
      );
    }
    onProgress('opening the graph on the GPU');
    const states = webGpuStates(converted.config);
    const graph = await openOnGpu(
      join(folder, graphFiles.webgpu),
      states.map(({ next }) => next),
    );
    const reader = await InferenceSession.create(buildStateReader(converted.config), {
      executionProviders: ['webgpu'],
    });
    const runner = new WebGpuRunner(converted, { graph, reader, states, slots });
    onProgress('running the meta tokens');
    await runner.#runMetaTokens();
    return runner;
  }

  private constructor(
    { config, fingerprint }: ConvertedModel,
    parts: {
      readonly graph: InferenceSession;
      readonly reader: InferenceSession;
      readonly states: readonly WebGpuState[];
      readonly slots: number;
    },
  ) {
    this.#config = config;
    this.#graph = parts.graph;
    this.#reader = parts.reader;
    this.#states = parts.states;
    this.slots = parts.slots;
    this.layout = stateLayout(config);
    this.model = {
      fingerprint,
      vocabularySize: config.vocabularySize,
      contextLength: config.contextLength,
    };
  }

  slotBytes(tokens: number): number {
    return slotBytes(this.#config, tokens, gpuCapacity);
  }

  /** Throws `RangeError` where no slot is free. */
  newState(): GpuSequence {
    return this.#add(this.#start, this.#config.metaTokens);
  }

  freeState(state: GpuSequence): void {
    this.#sequences.delete(state);
    dispose(state.memory);
  }

  /** Runs a prefill and a decode step, so that no request pays for the compilation of shaders. */
  async warmUp(prefillTokens: number): Promise<void> {
    const state = this.newState();
    const tokens = Math.max(2, Math.min(prefillTokens, this.model.contextLength - 1));
    await this.run(state, { ids: new Array<number>(tokens).fill(0), rows: [tokens - 1] });
    await this.run(state, { ids: [0], rows: [0] });
    this.freeState(state);
  }

  async runBatch(steps: readonly StateStep<GpuSequence>[]): Promise<(Float32Array | BatonError)[]> {
    const results: (Float32Array | BatonError)[] = [];
    for (const { state, ...step } of steps) {
      results.push(
        await this.run(state, step).catch((error: unknown) => {
          if (error instanceof BatonError) return error;
          throw error;
        }),
      );
    }
    return results;
  }

  /**
   * One step of one sequence, which is left as it was where the step fails: with `RequestError` for ids outside the
   * vocabulary or the context, with `ServerError` where the runtime fails.
   */
  async run(state: GpuSequence, step: Step): Promise<Float32Array> {
    checkStep(this.#config, state.length, step.ids);
    return this.#run(state, step);
  }

  async exportState(state: GpuSequence, from = 0): Promise<StateDelta> {
    const { metaTokens } = this.#config;
    const { memory } = await this.#read(state, metaTokens + from);
    return { fingerprint: this.model.fingerprint, tokens: state.length - metaTokens, from, ...memory };
  }

  /** Throws `MessageError` for a state of another model or another layout, `RangeError` where no slot is free. */
  importState(state: SessionState): GpuSequence {
    checkSessionState(state, this.layout, this.model);
    const { metaTokens } = this.#config;
    const parts = state.map((memory) => ({ memory, length: metaTokens + memory.tokens }));
    return this.#add([...this.#start, ...parts], metaTokens + tokensOf(state));
  }

  /** Frees the model's memory; no step may be running or come after. */
  async close(): Promise<void> {
    for (const state of this.#sequences) this.freeState(state);
    await Promise.all([this.#graph.release(), this.#reader.release()]);
  }

  async #runMetaTokens(): Promise<void> {
    const { metaTokens, vocabularySize } = this.#config;
    if (metaTokens === 0) return;
    const blank = this.#add([], 0);
    const ids = Array.from({ length: metaTokens }, (_, i) => vocabularySize + i);
    await this.#run(blank, { ids, rows: [] });
    this.#start = [await this.#read(blank, 0)];
    this.freeState(blank);
  }

  #add(parts: readonly SavedPart[], length: number): GpuSequence {
    if (this.#sequences.size === this.slots) throw new RangeError(`all ${this.slots} slots are in use`);
    const state: OwnSequence = { length, memory: toGpu(this.#config, parts, length + 1) };
    this.#sequences.add(state);
    return state;
  }

  async #run(state: OwnSequence, { ids, rows }: Step): Promise<Float32Array> {
    const { length } = state;
    const memory = await this.#withRoom(state, length + ids.length);
    // No output can be empty on a GPU, so that the last row is asked for where none is.
    const wanted = rows.length > 0 ? rows : [ids.length - 1];
    const outputs = await this.#graph
      .run({
        ...Object.fromEntries(memory.tensors),
        ...stepInputs(this.#config, memory.rows, length, { ids, rows: wanted }),
      })
      .catch((error: unknown) => {
        throw new ServerError(`the model failed at position ${length}: ${String(error)}`);
      });
    const next = this.#states.map(({ past, next }) => [past, tensorOf(outputs, next)] as const);
    const { data } = tensorOf(outputs, graphNames.logits);
    if (!(data instanceof Float32Array)) throw new ServerError('the model gave no float32 logits');
    state.memory = { rows: memory.rows, tensors: new Map(next) };
    state.length += ids.length;
    dispose(memory);
    return rows.length > 0 ? data : new Float32Array();
  }

  /** The sequence's memory, laid out anew where it has no room for `length` positions. */
  async #withRoom(state: OwnSequence, length: number): Promise<GpuMemory> {
    const { rows } = state.memory;
    if (rows.global.hasRoomFor(length) && rows.sliding.hasRoomFor(length)) return state.memory;
    const { metaTokens } = this.#config;
    const parts =
      state.length > metaTokens ? [...this.#start, await this.#read(state, metaTokens)] : this.#start;
    dispose(state.memory);
    state.memory = toGpu(this.#config, parts, length);
    return state.memory;
  }

  /** What is held from position `from` on, in JavaScript's memory. */
  async #read({ length, memory }: GpuSequence, from: number): Promise<SavedPart> {
    const fresh = [...memory.tensors.values()].every(({ location }) => location === 'cpu');
    const outputs = fresh ? null : await this.#reader.run(Object.fromEntries(memory.tensors));
    const host = new Map(
      this.#states.map(({ past, next }) => {
        const { data } = outputs ? tensorOf(outputs, next) : (memory.tensors.get(past) ?? {});
        if (!(data instanceof Float32Array))
          throw new ServerError(`"${past}" could not be read from the GPU`);
        return [past, data] as const;
      }),
    );
    return { memory: toMemory(this.#config, memory.rows, { from, length }, host), length };
  }
}

function tensorOf(outputs: InferenceSession.OnnxValueMapType, name: string): Tensor {
  const value = outputs[name];
  if (value instanceof Tensor) return value;
  throw new ServerError(`the model gave no "${name}"`);
}

function dispose({ tensors }: GpuMemory): void {
  for (const tensor of tensors.values()) tensor.dispose();
}
