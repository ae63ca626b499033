import { join } from 'node:path';
import { type BatonError, RequestError, ServerError } from '@baton/errors';
import {
  type ConvertedModel,
  type GraphMode,
  graphFiles,
  graphNames,
  type HymbaConfig,
  openModel,
} from '@baton/hymba';
import type { InferenceSession, Tensor } from 'onnxruntime-node';
import type { Runner, StateStep, Step } from './batch/runner.ts';
import { checkStep } from './check-step.ts';
import type { EngineModel } from './engine.ts';
import { type GraphInputs, graphInputs } from './graph-inputs.ts';
import { openGraph } from './open-graph.ts';
import { attentionBias } from './state/attention-bias.ts';
import { checkSessionState, type SequenceMemory, type SessionStateData } from './state/session-state.ts';
import { type Slot, StatePool } from './state/state-pool.ts';
import { slotBytes } from './state/state-size.ts';

export interface ModelRunnerOptions {
  /** Threads that one operator may use. */
  readonly threads: number;
  /** What the graphs run on; the states stay in JavaScript's memory all the same. */
  readonly device?: 'cpu' | 'cuda';
  /** Sequences that it has room for; their memory is taken as they grow. */
  readonly slots?: number;
  /** Hears what is being done while the model opens. */
  readonly onProgress?: (stage: string) => void;
}

/**
 * A converted model, ready to run, and the states of the sequences that it runs. A step blocks the thread that it runs on,
 * so give the runner a thread of its own.
 */
export class ModelRunner implements Runner<Slot> {
  readonly model: EngineModel;
  readonly slots: number;
  readonly #config: HymbaConfig;
  readonly #graphs: Readonly<Record<GraphMode, InferenceSession>>;
  readonly #pool: StatePool;
  readonly #ids: BigInt64Array;
  readonly #positions: BigInt64Array;
  /** Those of the last decode step, which serve again while the same slots run and nothing moves. */
  #decodeInputs: { readonly key: string; readonly inputs: GraphInputs } | null = null;
  /** Where every sequence begins: right after the meta tokens. */
  #start: { readonly memory: SequenceMemory; readonly length: number } = {
    memory: { caches: [], conv: [], ssm: [] },
    length: 0,
  };

  /** Opens a converted model's folder. Throws `CheckpointError` for one that is damaged. */
  static async open(folder: string, options: ModelRunnerOptions): Promise<ModelRunner> {
    const { slots = 1, onProgress = () => {} } = options;
    onProgress('checking the files');
    const converted = await openModel(folder);
    const opening = sessionOptions(converted, options);
    onProgress('opening the prefill graph');
    const prefill = await openGraph(join(folder, graphFiles.prefill), opening);
    onProgress('opening the decode graph');
    const decode = await openGraph(join(folder, graphFiles.decode), opening);
    const runner = new ModelRunner(converted, { prefill, decode }, slots);
    onProgress('running the meta tokens');
    await runner.#runMetaTokens();
    return runner;
  }

  private constructor(
    { config, fingerprint }: ConvertedModel,
    graphs: Readonly<Record<GraphMode, InferenceSession>>,
    slots: number,
  ) {
    this.#config = config;
    this.#graphs = graphs;
    this.slots = slots;
    this.#pool = new StatePool(config, slots);
    this.#ids = new BigInt64Array(slots);
    this.#positions = new BigInt64Array(slots);
    this.model = {
      fingerprint,
      vocabularySize: config.vocabularySize,
      contextLength: config.contextLength,
    };
  }

  slotBytes(tokens: number): number {
    return slotBytes(this.#config, tokens);
  }

  /** Throws `RangeError` where no slot is free. */
  newState(): Slot {
    const slot = this.#pool.allocate();
    this.#pool.load(slot, this.#start.memory, this.#start.length);
    return slot;
  }

  freeState(state: Slot): void {
    this.#pool.release(state);
  }

  /** Runs both graphs once, so that no request pays for what the runtime does the first time. */
  async warmUp(prefillTokens: number): Promise<void> {
    const state = this.newState();
    const tokens = Math.max(2, Math.min(prefillTokens, this.model.contextLength - 1));
    await this.run(state, { ids: new Array<number>(tokens).fill(0), rows: [tokens - 1] });
    await this.run(state, { ids: [0], rows: [0] });
    this.freeState(state);
  }

  /**
   * Steps of one token run first, as one batch, and then each longer one by itself. A step fails with `RequestError` for
   * ids outside the vocabulary or the context, with `ServerError` where the runtime fails.
   */
  async runBatch(steps: readonly StateStep<Slot>[]): Promise<(Float32Array | BatonError)[]> {
    const results: (Float32Array | BatonError | null)[] = steps.map((step) => this.#refusal(step));
    const sound = [...steps.keys()].filter((index) => results[index] === null);
    const stepAt = (index: number) => steps[index] as StateStep<Slot>;
    this.#pool.fit(
      sound.reduce((most, i) => Math.max(most, stepAt(i).state.length + stepAt(i).ids.length), 1),
    );
    const single = sound.filter((index) => stepAt(index).ids.length === 1);
    const runs = single.length > 0 ? [single] : [];
    runs.push(...sound.filter((index) => stepAt(index).ids.length > 1).map((index) => [index]));
    for (const run of runs) {
      const logits = await this.#attempt(run.map(stepAt));
      for (const [at, index] of run.entries())
        results[index] = logits instanceof ServerError ? logits : (logits[at] ?? null);
    }
    return results.map((result) => result ?? new ServerError('the model gave no logits'));
  }

  /** One step of one sequence. Throws what it fails with. */
  async run(state: Slot, step: Step): Promise<Float32Array> {
    const [result] = await this.runBatch([{ state, ...step }]);
    if (result instanceof Float32Array) return result;
    throw result ?? new ServerError('the model gave no logits');
  }

  /** A copy of what `state` remembers, from which this model goes on anywhere. */
  exportState(state: Slot): SessionStateData {
    const { metaTokens } = this.#config;
    return {
      fingerprint: this.model.fingerprint,
      tokens: state.length - metaTokens,
      ...this.#pool.save(state, metaTokens),
    };
  }

  /** Takes a slot for an exported state. Throws `MessageError` for one of another model or another layout. */
  importState(data: SessionStateData): Slot {
    checkSessionState(data, this.#config, this.model.fingerprint);
    const slot = this.newState();
    this.#pool.load(slot, data, this.#config.metaTokens + data.tokens);
    return slot;
  }

  /** Frees the model's memory; no step may be running or come after. */
  async close(): Promise<void> {
    await Promise.all(Object.values(this.#graphs).map((graph) => graph.release()));
  }

  async #runMetaTokens(): Promise<void> {
    const { metaTokens, vocabularySize } = this.#config;
    if (metaTokens === 0) return;
    const slot = this.newState();
    this.#pool.fit(metaTokens);
    const ids = Array.from({ length: metaTokens }, (_, i) => vocabularySize + i);
    await this.#prefill({ state: slot, ids, rows: [] });
    this.#start = { memory: this.#pool.save(slot, 0), length: metaTokens };
    this.freeState(slot);
  }

  #refusal({ state, ids }: StateStep<Slot>): BatonError | null {
    try {
      checkStep(this.#config, state.length, ids);
      return null;
    } catch (error) {
      if (error instanceof RequestError) return error;
      throw error;
    }
  }

  async #attempt(steps: readonly StateStep<Slot>[]): Promise<Float32Array[] | ServerError> {
    const [first] = steps;
    try {
      return first && first.ids.length > 1 ? [await this.#prefill(first)] : await this.#decode(steps);
    } catch (error) {
      return new ServerError(`the model failed at position ${first?.state.length}: ${String(error)}`);
    }
  }

  /** Several tokens of one sequence. */
  async #prefill({ state, ids, rows }: StateStep<Slot>): Promise<Float32Array> {
    const tokens = ids.length;
    const { length } = state;
    const inputs = graphInputs(this.#config, this.#pool, {
      first: state.index,
      batch: 1,
      tokens,
      ids: BigInt64Array.from(ids, BigInt),
      positions: BigInt64Array.from(ids, (_, i) => BigInt(length + i)),
      logitRows: BigInt64Array.from(rows, BigInt),
      biases: this.#pool.kinds.map((kind) => attentionBias(this.#config, kind, { length, tokens })),
    });
    return this.#runGraph('prefill', inputs, [state], tokens);
  }

  /** One token of each of several sequences. */
  async #decode(steps: readonly StateStep<Slot>[]): Promise<Float32Array[]> {
    this.#pool.gather(steps.map(({ state }) => state));
    const inOrder = steps.toSorted((a, b) => a.state.index - b.state.index);
    for (const [index, { state, ids }] of inOrder.entries()) {
      this.#ids[index] = BigInt(ids[0] ?? 0);
      this.#positions[index] = BigInt(state.length);
    }
    const wanted = inOrder.filter(({ rows }) => rows.length > 0);
    const slots = inOrder.map(({ state }) => state);
    const inputs = this.#inputsOfDecode(
      slots.length,
      wanted.map(({ state }) => state.index),
    );
    const logits = await this.#runGraph('decode', inputs, slots, 1);
    const size = this.model.vocabularySize;
    return steps.map((step) => {
      const row = wanted.indexOf(step);
      return row < 0 ? new Float32Array() : logits.subarray(row * size, (row + 1) * size);
    });
  }

  #inputsOfDecode(batch: number, rows: readonly number[]): GraphInputs {
    const key = `${this.#pool.layout} ${batch} ${rows}`;
    if (this.#decodeInputs?.key === key) return this.#decodeInputs.inputs;
    const inputs = graphInputs(this.#config, this.#pool, {
      first: 0,
      batch,
      tokens: 1,
      ids: this.#ids.subarray(0, batch),
      positions: this.#positions.subarray(0, batch),
      logitRows: BigInt64Array.from(rows, BigInt),
      biases: this.#pool.kinds.map(({ decodeBias }) => decodeBias.view(0, batch)),
    });
    this.#decodeInputs = { key, inputs };
    return inputs;
  }

  /** Runs a graph, which moves the recurrent states on, and adds the new tokens' rows to the caches. Gives the logits. */
  async #runGraph(
    mode: GraphMode,
    { feeds, fetches }: GraphInputs,
    slots: readonly Slot[],
    tokens: number,
  ): Promise<Float32Array> {
    const outputs = await this.#graphs[mode].run(feeds, fetches);
    const floats = (name: string): Float32Array => {
      const data = outputs[name]?.data;
      if (data instanceof Float32Array) return data;
      throw new ServerError(`the model gave no float32 "${name}"`);
    };
    const rows = this.#config.caches.map((_, cache) => ({
      count: tokens,
      keys: floats(graphNames.newKeys(cache)),
      values: floats(graphNames.newValues(cache)),
    }));
    for (const [item, slot] of slots.entries()) this.#pool.append(slot, tokens, item, rows);
    for (const [name, state] of Object.entries(fetches)) if (state) discard(floats(name), state.data);
    return floats(graphNames.logits);
  }
}

/**
 * Frees the copy that the binding makes of an output although it is written to `own` already: left to the collector,
 * copies pile up, and each step's come to lie in fresh memory.
 */
function discard(copy: Float32Array, own: Tensor.DataType): void {
  if (copy.buffer instanceof ArrayBuffer && copy.buffer !== (own as Float32Array).buffer)
    copy.buffer.transfer(0);
}

function sessionOptions(
  { weightForm }: ConvertedModel,
  { threads, device }: ModelRunnerOptions,
): InferenceSession.SessionOptions {
  return {
    // What CUDA has no operator for runs on the CPU.
    executionProviders: device === 'cuda' ? ['cuda', 'cpu'] : ['cpu'],
    intraOpNumThreads: threads,
    extra: {
      session: {
        // Waiting threads that spin take the cores that other workers on the machine need.
        intra_op: { allow_spinning: '0' },
        // Packing would copy the weights for each graph of each worker; as they are they stay mapped, and shared by all.
        disable_prepacking: weightForm === 'fp32' ? '1' : '0',
      },
    },
  };
}
