import { type BatonError, EngineDiedError, RequestError, ServerError } from '@baton/errors';
import { type ConvertedModel, type HymbaConfig, openModel } from '@baton/hymba';
import type { Runner, StateStep, Step } from './batch/runner.ts';
import { checkStep } from './check-step.ts';
import type { EngineModel, EngineRequest } from './engine.ts';
import { ModelGraphs, type ModelGraphsOptions } from './model-graphs.ts';
import { checkStateMemory } from './state/check-state-memory.ts';
import { checkSessionState, type SessionState, type StateDelta } from './state/session-state.ts';
import { type StateLayout, stateLayout } from './state/state-layout.ts';
import { type SavedPart, type Slot, StatePool } from './state/state-pool.ts';
import { slotBytes } from './state/state-size.ts';

export interface ModelRunnerOptions extends ModelGraphsOptions {
  /** Sequences that it has room for; their memory is taken as they grow. */
  readonly slots?: number;
  /** Bytes that their states may take: to be kept to, by `slotBytes`, by whoever asks for them. */
  readonly stateMemory?: number;
}

/** The tokens that a sequence is fed before it samples. */
type Fed = Pick<EngineRequest, 'prompt' | 'replay'>;

/**
 * A converted model, ready to run, and the states of the sequences that it runs. A step blocks the thread that it runs on,
 * so give the runner a thread of its own.
 */
export class ModelRunner implements Runner<Slot> {
  readonly model: EngineModel;
  readonly layout: StateLayout;
  readonly slots: number;
  readonly #config: HymbaConfig;
  readonly #pool: StatePool;
  readonly #graphs: ModelGraphs;
  readonly #device: 'cpu' | 'cuda';
  /** Where every sequence begins: right after the meta tokens. */
  #start: readonly SavedPart[] = [];

  /**
   * Opens a converted model's folder. Throws `CheckpointError` for one that is damaged, `ConfigurationError` where the state
   * memory has no room for one sequence of full length.
   */
  static async open(folder: string, options: ModelRunnerOptions): Promise<ModelRunner> {
    const { slots = 1, stateMemory = Number.POSITIVE_INFINITY, onProgress = () => {} } = options;
    onProgress('checking the files');
    const converted = await openModel(folder);
    const { config } = converted;
    checkStateMemory(stateMemory, slotBytes(config, config.contextLength), config.contextLength);
    const pool = new StatePool(config, slots, stateMemory);
    const graphs = await ModelGraphs.open(converted, pool, options);
    const runner = new ModelRunner(converted, { pool, graphs, device: options.device ?? 'cpu' });
    onProgress('running the meta tokens');
    await runner.#runMetaTokens();
    return runner;
  }

  private constructor(
    { config, fingerprint, tokenizer }: ConvertedModel,
    parts: { readonly pool: StatePool; readonly graphs: ModelGraphs; readonly device: 'cpu' | 'cuda' },
  ) {
    const { vocabularySize, contextLength } = config;
    this.layout = stateLayout(config);
    this.model = { fingerprint, tokenizer, vocabularySize, contextLength };
    this.slots = parts.pool.slots;
    this.#config = config;
    this.#pool = parts.pool;
    this.#graphs = parts.graphs;
    this.#device = parts.device;
  }

  slotBytes(tokens: number): number {
    return slotBytes(this.#config, tokens);
  }

  /** Throws `RangeError` where no slot is free. */
  newState(request?: Fed): Slot {
    const fed = request ? request.prompt.length + request.replay.length : 0;
    const slot = this.#pool.allocate(this.#config.metaTokens + fed);
    this.#pool.load(slot, this.#start);
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
   * ids outside the vocabulary or the context, with `ServerError` where the runtime fails at it alone. Throws
   * `EngineDiedError` where the runtime is of no more use.
   */
  async runBatch(steps: readonly StateStep<Slot>[]): Promise<(Float32Array | BatonError)[]> {
    const results = new Map<StateStep<Slot>, Float32Array | BatonError>();
    for (const step of steps) {
      const refusal = this.#refusal(step);
      if (refusal) results.set(step, refusal);
    }
    const sound = steps.filter((step) => !results.has(step));
    this.#pool.fit(sound.reduce((most, { state, ids }) => Math.max(most, state.length + ids.length), 1));
    const single = sound.filter(({ ids }) => ids.length === 1);
    if (single.length > 0) await this.#attempt(single, results, () => this.#graphs.decode(single));
    for (const step of sound) {
      if (step.ids.length === 1) continue;
      await this.#attempt([step], results, async () => [await this.#graphs.prefill(step)]);
    }
    return steps.map((step) => results.get(step) ?? new ServerError('the model gave no logits'));
  }

  /** One step of one sequence, whose logits stay as they are. Throws what it fails with. */
  async run(state: Slot, step: Step): Promise<Float32Array> {
    const [result] = await this.runBatch([{ state, ...step }]);
    if (result instanceof Float32Array) return result.slice();
    throw result ?? new ServerError('the model gave no logits');
  }

  async exportState(state: Slot, from = 0): Promise<StateDelta> {
    const { metaTokens } = this.#config;
    return {
      fingerprint: this.model.fingerprint,
      tokens: state.length - metaTokens,
      from,
      ...this.#pool.save(state, metaTokens + from),
    };
  }

  /** Throws `MessageError` for a state of another model or another layout, `RangeError` where no slot is free. */
  importState(state: SessionState, request?: Fed): Slot {
    checkSessionState(state, this.layout, this.model);
    const slot = this.newState(request);
    const { metaTokens } = this.#config;
    const parts = state.map((memory) => ({ memory, length: metaTokens + memory.tokens }));
    this.#pool.load(slot, parts);
    return slot;
  }

  /** Frees the model's memory; no step may be running or come after. */
  async close(): Promise<void> {
    await this.#graphs.close();
  }

  async #runMetaTokens(): Promise<void> {
    const { metaTokens, vocabularySize } = this.#config;
    if (metaTokens === 0) return;
    const slot = this.newState();
    this.#pool.fit(metaTokens);
    const ids = Array.from({ length: metaTokens }, (_, i) => vocabularySize + i);
    await this.#graphs.prefill({ state: slot, ids, rows: [] });
    this.#start = [{ memory: this.#pool.save(slot, 0), length: metaTokens }];
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

  /**
   * Notes, for each step of a run, its logits or what the run failed with. That is one sequence's own failure only where it
   * ran alone and the runtime still computes: a GPU that failed once may do so for good, and of a batch's sequences,
   * whose states the run has spoilt, nobody can say which is to blame. All of those can still go on elsewhere.
   */
  async #attempt(
    steps: readonly StateStep<Slot>[],
    results: Map<StateStep<Slot>, Float32Array | BatonError>,
    run: () => Promise<readonly Float32Array[]>,
  ): Promise<void> {
    try {
      for (const [index, logits] of (await run()).entries())
        results.set(steps[index] as StateStep<Slot>, logits);
    } catch (cause) {
      const [step, ...others] = steps;
      const failure = `the model failed at position ${step?.state.length}: ${String(cause)}`;
      if (!step || others.length > 0 || this.#device !== 'cpu' || !(await this.#stillRuns(step.state)))
        throw new EngineDiedError(failure, { cause });
      results.set(step, new ServerError(failure, { cause }));
    }
  }

  /** Whether the runtime can feed a token to `state`, which has room for one and is of no more use. */
  async #stillRuns(state: Slot): Promise<boolean> {
    try {
      await this.#graphs.decode([{ state, ids: [0], rows: [] }]);
      return true;
    } catch {
      return false;
    }
  }
}
