import { join } from 'node:path';
import { type ConvertedModel, type GraphMode, graphFiles, type HymbaConfig } from '@baton/hymba';
import type { InferenceSession, Tensor } from 'onnxruntime-node';
import type { StateStep } from './batch/runner.ts';
import { type GraphInputs, graphInputs } from './graph-inputs.ts';
import { openGraph } from './open-graph.ts';
import { sessionOptions } from './session-options.ts';
import { attentionBias } from './state/attention-bias.ts';
import type { Slot, StatePool } from './state/state-pool.ts';

export interface ModelGraphsOptions {
  /** Threads that one operator may use. */
  readonly threads: number;
  /** What the graphs run on; the states stay in JavaScript's memory all the same. */
  readonly device?: 'cpu' | 'cuda';
  /** Hears what is being done while the graphs open. */
  readonly onProgress?: (stage: string) => void;
}

/** A model's prefill and decode graphs, which run over the states of a pool and move them on. */
export class ModelGraphs {
  readonly #config: HymbaConfig;
  readonly #pool: StatePool;
  readonly #graphs: Readonly<Record<GraphMode, InferenceSession>>;
  readonly #ids: BigInt64Array;
  readonly #positions: BigInt64Array;
  /** Those of the last decode step, which serve again while the same slots run and nothing moves. */
  #decodeInputs: { readonly key: string; readonly inputs: GraphInputs } | null = null;

  /** Throws `CheckpointError` for a graph that is damaged. */
  static async open(
    model: ConvertedModel,
    pool: StatePool,
    options: ModelGraphsOptions,
  ): Promise<ModelGraphs> {
    const open = (mode: GraphMode) => {
      options.onProgress?.(`opening the ${mode} graph`);
      return openGraph(
        join(model.folder, graphFiles[mode]),
        sessionOptions({ weightForm: model.weightForm, ...options }),
      );
    };
    return new ModelGraphs(model.config, pool, {
      prefill: await open('prefill'),
      decode: await open('decode'),
    });
  }

  private constructor(
    config: HymbaConfig,
    pool: StatePool,
    graphs: Readonly<Record<GraphMode, InferenceSession>>,
  ) {
    this.#config = config;
    this.#pool = pool;
    this.#graphs = graphs;
    this.#ids = new BigInt64Array(pool.slots);
    this.#positions = new BigInt64Array(pool.slots);
  }

  /** Several tokens of one sequence. Gives the logits [rows, vocabulary]. */
  async prefill({ state, ids, rows }: StateStep<Slot>): Promise<Float32Array> {
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

  /** One token of each of several sequences. Gives each one's logits, which the next call overwrites. */
  async decode(steps: readonly StateStep<Slot>[]): Promise<Float32Array[]> {
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
    const size = this.#config.vocabularySize;
    return steps.map((step) => {
      const row = wanted.indexOf(step);
      return row < 0 ? new Float32Array() : logits.subarray(row * size, (row + 1) * size);
    });
  }

  /** Frees the graphs' memory; nothing may be running or come after. */
  async close(): Promise<void> {
    await Promise.all(Object.values(this.#graphs).map((graph) => graph.release()));
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

  /**
   * Runs a graph, which moves the recurrent states on, and adds the new tokens' rows to the caches. Gives the logits, which
   * the next run of the same inputs overwrites.
   */
  async #runGraph(
    mode: GraphMode,
    { feeds, fetches, logits, rows }: GraphInputs,
    slots: readonly Slot[],
    tokens: number,
  ): Promise<Float32Array> {
    const copies = await this.#graphs[mode].run(feeds, fetches);
    for (const name in copies) discard(copies[name]?.data);
    for (const [item, slot] of slots.entries()) this.#pool.append(slot, tokens, item, rows);
    return logits;
  }
}

/**
 * Frees the copy that the binding makes of each output although it is written where `fetches` says: left to the collector,
 * copies pile up, and each step's come to lie in fresh memory.
 */
function discard(copy: Tensor.DataType | undefined): void {
  if (copy instanceof Float32Array && copy.buffer instanceof ArrayBuffer) copy.buffer.transfer(0);
}
