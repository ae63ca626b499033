import { join } from 'node:path';
import { type BatonError, ConfigurationError, EngineDiedError, RequestError } from '@baton/errors';
import {
  buildFloat16Probe,
  type ConvertedModel,
  graphFiles,
  graphNames,
  type HymbaConfig,
  openModel,
} from '@baton/hymba';
import type { InferenceSession } from 'onnxruntime-node';
import type { Runner, StateStep, Step } from '../batch/runner.ts';
import { checkStep } from '../check-step.ts';
import { deviceProblem } from '../device.ts';
import type { EngineModel } from '../engine.ts';
import { checkStateMemory } from '../state/check-state-memory.ts';
import { checkSessionState, type SessionState, type StateDelta, tokensOf } from '../state/session-state.ts';
import { type StateLayout, stateLayout } from '../state/state-layout.ts';
import type { SavedPart } from '../state/state-pool.ts';
import { tensorOf } from './gpu-memory.ts';
import { gpuSlotBytes, type RowsByKind, rowsByKind } from './gpu-rows.ts';
import { besideSlots, type GpuSequence, GpuStates, type OwnSequence } from './gpu-states.ts';
import { openOnGpu } from './open-on-gpu.ts';
import { type PassSequence, stepInputs } from './step-inputs.ts';

export interface WebGpuRunnerOptions {
  /** Sequences that it has room for. */
  readonly slots?: number;
  /** Bytes that all states may take. Fewer slots than asked for have room in it where sequences of full length would not. */
  readonly stateMemory?: number;
  /** The most tokens of one sequence that a pass takes; what is longer runs in several. */
  readonly chunk?: number;
  /** Where the times of all GPU programs are written when it closes: the beginning of a file's path. Slows every pass. */
  readonly profile?: string;
  /** Hears what is being done while the model opens. */
  readonly onProgress?: (stage: string) => void;
}

interface Graphs {
  /** Tokens of one sequence. */
  readonly prefill: InferenceSession;
  /** One token of each of many. */
  readonly decode: InferenceSession;
}

/**
 * A converted model on a GPU, through WebGPU. States stay there and are written where they lie; only token ids go there
 * and only logits come back. All sequences that take one token run as one batch, each over its own length.
 */
export class WebGpuRunner implements Runner<GpuSequence> {
  readonly model: EngineModel;
  readonly layout: StateLayout;
  readonly slots: number;
  readonly #config: HymbaConfig;
  readonly #chunk: number;
  readonly #rows: RowsByKind;
  readonly #graphs: Graphs;
  readonly #states: GpuStates;
  readonly #used = new Map<number, OwnSequence>();
  /** Every sequence begins right after the meta tokens; until they have run, before everything. */
  #start: readonly SavedPart[] = [];

  /**
   * Opens a converted model's folder. Throws `CheckpointError` for one that is damaged, or that has an operator which
   * would not run on the GPU, `ConfigurationError` for one with int8 weights, or with a float16 KV cache
   * where the GPU has no float16, where the state memory has no room for one sequence of full length, and where the GPU has
   * none for those of all slots.
   */
  static async open(folder: string, options: WebGpuRunnerOptions = {}): Promise<WebGpuRunner> {
    const { stateMemory = Number.POSITIVE_INFINITY, chunk = 256, profile, onProgress = () => {} } = options;
    onProgress('checking the files');
    const converted = await openModel(folder);
    const { config } = converted;
    const rows = rowsByKind(config, chunk);
    // Every slot grows with the longest sequence that there ever was, whether it is in use or not.
    const full = gpuSlotBytes(config, rows, config.contextLength);
    checkStateMemory(stateMemory, (1 + besideSlots) * full, config.contextLength);
    const wanted = options.slots ?? 1;
    const slots = Math.min(wanted, Math.floor(stateMemory / full) - besideSlots);
    if (slots < wanted) onProgress(`BATON_STATE_MEMORY has room for ${slots} of ${wanted} slots`);
    if (converted.weightForm === 'int8') {
      throw new ConfigurationError(
        `${folder} has int8 weights, which WebGPU cannot multiply; set BATON_WEIGHTS to int4 or fp32, or BATON_DEVICE to cpu`,
      );
    }
    if (converted.kvCache === 'float16' && (await deviceProblem('webgpu', buildFloat16Probe())) !== null) {
      throw new ConfigurationError(
        `${folder} rounds keys and values to float16, which this GPU does not have; set BATON_KV_CACHE to float32, or BATON_DEVICE to cpu`,
      );
    }
    onProgress('opening the graphs on the GPU');
    const graphs = {
      prefill: await openOnGpu(join(folder, graphFiles.webgpuPrefill), profile && `${profile}-prefill`),
      decode: await openOnGpu(join(folder, graphFiles.webgpuDecode), profile && `${profile}-decode`),
    };
    const states = await GpuStates.open(config, rows, slots);
    const runner = new WebGpuRunner(converted, { graphs, rows, states, slots, chunk });
    onProgress('running the meta tokens');
    await runner.#runMetaTokens();
    return runner;
  }

  private constructor(
    { config, fingerprint, tokenizer }: ConvertedModel,
    parts: {
      readonly graphs: Graphs;
      readonly rows: RowsByKind;
      readonly states: GpuStates;
      readonly slots: number;
      readonly chunk: number;
    },
  ) {
    this.#config = config;
    this.#graphs = parts.graphs;
    this.#rows = parts.rows;
    this.#states = parts.states;
    this.#chunk = parts.chunk;
    this.slots = parts.slots;
    this.layout = stateLayout(config);
    this.model = {
      fingerprint,
      tokenizer,
      vocabularySize: config.vocabularySize,
      contextLength: config.contextLength,
    };
  }

  slotBytes(tokens: number): number {
    return gpuSlotBytes(this.#config, this.#rows, tokens);
  }

  /** Throws `RangeError` where no slot is free. */
  newState(): GpuSequence {
    return this.#add('start', this.#config.metaTokens);
  }

  freeState(state: GpuSequence): void {
    const own = this.#own(state);
    this.#states.drop(own);
    this.#used.delete(own.slot);
  }

  /** Runs a prefill and a decode step, so that no request pays for the compilation of shaders. */
  async warmUp(prefillTokens: number): Promise<void> {
    const state = this.newState();
    const tokens = Math.max(2, Math.min(prefillTokens, this.model.contextLength - 1));
    await this.run(state, { ids: new Array<number>(tokens).fill(0), rows: [tokens - 1] });
    await this.run(state, { ids: [0], rows: [0] });
    this.freeState(state);
  }

  /**
   * A step fails with `RequestError` for ids outside the vocabulary or the context. Throws `EngineDiedError` for any failure
   * of the GPU: one that was lost, or has no memory left, would fail every sequence from then on.
   */
  async runBatch(steps: readonly StateStep<GpuSequence>[]): Promise<(Float32Array | BatonError)[]> {
    const results = new Map<StateStep<GpuSequence>, Float32Array | BatonError>();
    const batch: StateStep<GpuSequence>[] = [];
    for (const step of steps) {
      if (step.ids.length === 1) batch.push(step);
      else results.set(step, await settled(() => this.run(step.state, step)));
    }
    const checked = await Promise.all(
      batch.map(async (step) => {
        const failure = await settled(async () => checkStep(this.#config, step.state.length, step.ids));
        if (failure instanceof RequestError) results.set(step, failure);
        return failure instanceof RequestError ? [] : [step];
      }),
    );
    const sound = checked.flat();
    if (sound.length > 0) {
      const logits = await onGpu(() => this.#decode(sound));
      for (const [index, step] of sound.entries()) results.set(step, logits[index] ?? new Float32Array());
    }
    return steps.map((step) => results.get(step) ?? new Float32Array());
  }

  /**
   * One step of one sequence, which is left as it was where the step is refused: with `RequestError` for ids outside the
   * vocabulary or the context. Throws `EngineDiedError` where the GPU fails.
   */
  async run(state: GpuSequence, step: Step): Promise<Float32Array> {
    checkStep(this.#config, state.length, step.ids);
    if (step.ids.length > 1) return onGpu(() => this.#prefill(this.#own(state), step));
    const [logits = new Float32Array()] = await onGpu(() => this.#decode([{ ...step, state }]));
    return logits;
  }

  async exportState(state: GpuSequence, from = 0): Promise<StateDelta> {
    const { metaTokens } = this.#config;
    const own = this.#own(state);
    const memory = await onGpu(() => this.#states.read(own, metaTokens + from));
    return { fingerprint: this.model.fingerprint, tokens: own.length - metaTokens, from, ...memory };
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
    await this.#states.close();
    await Promise.all([this.#graphs.prefill.release(), this.#graphs.decode.release()]);
  }

  async #runMetaTokens(): Promise<void> {
    const { metaTokens, vocabularySize } = this.#config;
    if (metaTokens === 0) return;
    const blank = this.#add([], 0);
    const ids = Array.from({ length: metaTokens }, (_, i) => vocabularySize + i);
    await this.#prefill(blank, { ids, rows: [] });
    this.#start = [{ memory: await this.#states.read(blank, 0), length: metaTokens }];
    await this.#states.keepAsStart();
    this.freeState(blank);
  }

  #add(pending: OwnSequence['pending'], length: number): OwnSequence {
    if (this.#used.size === this.slots) throw new RangeError(`all ${this.slots} slots are in use`);
    let slot = 0;
    while (this.#used.has(slot)) slot++;
    const state: OwnSequence = { slot, length, pending };
    this.#used.set(slot, state);
    return state;
  }

  #own(state: GpuSequence): OwnSequence {
    const own = this.#used.get(state.slot);
    if (own !== state) throw new RangeError(`slot ${state.slot} belongs to another sequence`);
    return own;
  }

  /** Several tokens of one sequence, chunk by chunk on the desk. */
  async #prefill(state: OwnSequence, { ids, rows }: Step): Promise<Float32Array> {
    const { vocabularySize } = this.#config;
    const logits = new Float32Array(rows.length * vocabularySize);
    let filled = 0;
    await this.#states.fit(state.length + ids.length);
    for (let from = 0; from < ids.length; from += this.#chunk) {
      const part = ids.slice(from, from + this.#chunk);
      const wanted = rows.filter((row) => row >= from && row < from + part.length).map((row) => row - from);
      const memory = await this.#states.toDesk(state);
      const sequence = { length: state.length, ids: part, active: true };
      const found = await this.#pass(this.#graphs.prefill, memory, [sequence], wanted);
      logits.set(found, filled);
      filled += found.length;
      state.length += part.length;
    }
    return logits;
  }

  /** One token of each sequence. */
  async #decode(steps: readonly StateStep<GpuSequence>[]): Promise<Float32Array[]> {
    const { vocabularySize } = this.#config;
    const bySlot = new Map(steps.map((step) => [step.state.slot, step]));
    const states = steps.map(({ state }) => this.#own(state));
    const count = 1 + Math.max(...states.map(({ slot }) => slot));
    await this.#states.fit(1 + Math.max(...states.map(({ length }) => length)));
    const memory = await this.#states.toSlots(states, count);
    const sequences = Array.from({ length: count }, (_, slot): PassSequence => {
      const step = bySlot.get(slot);
      const length = this.#used.get(slot)?.length ?? 0;
      return { length, ids: step?.ids ?? [0], active: step !== undefined };
    });
    const wanted = steps.filter(({ rows }) => rows.length > 0).map(({ state }) => state.slot);
    const found = await this.#pass(this.#graphs.decode, memory, sequences, wanted);
    for (const state of states) state.length += 1;
    let at = 0;
    return steps.map(({ rows }) => {
      if (rows.length === 0) return new Float32Array();
      return found.subarray(at * vocabularySize, ++at * vocabularySize);
    });
  }

  async #pass(
    graph: InferenceSession,
    { past, next }: Awaited<ReturnType<GpuStates['toDesk']>>,
    sequences: readonly PassSequence[],
    wanted: readonly number[],
  ): Promise<Float32Array> {
    // No output can be empty on a GPU, so that a row is asked for where none is.
    const rows = wanted.length > 0 ? wanted : [0];
    const outputs = await graph.run(
      { ...past, ...stepInputs(this.#config, this.#rows, sequences, rows) },
      { ...next, [graphNames.logits]: null },
    );
    const { data } = tensorOf(outputs[graphNames.logits], graphNames.logits);
    if (!(data instanceof Float32Array)) throw new TypeError('the model gave no float32 logits');
    return wanted.length > 0 ? data : new Float32Array();
  }
}

/** A refusal, which one sequence's client is told of, as a value. */
async function settled<Result>(run: () => Promise<Result>): Promise<Result | RequestError> {
  return run().catch((error: unknown) => {
    if (error instanceof RequestError) return error;
    throw error;
  });
}

async function onGpu<Result>(work: () => Promise<Result>): Promise<Result> {
  return work().catch((cause: unknown) => {
    throw new EngineDiedError(`the GPU failed: ${String(cause)}`, { cause });
  });
}
