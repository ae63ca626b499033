import { join } from 'node:path';
import { CheckpointError, MessageError, RequestError, ServerError } from '@baton/errors';
import {
  type ConvertedModel,
  type GraphMode,
  graphFiles,
  graphNames,
  type HymbaConfig,
  openModel,
} from '@baton/hymba';
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { attentionBias } from './attention-bias.ts';
import type { EngineModel } from './engine.ts';
import type { Runner, Step } from './runner.ts';
import { SessionState, type SessionStateData } from './session-state.ts';

export interface ModelRunnerOptions {
  /** Threads that one operator may use. */
  readonly threads: number;
}

/**
 * A converted model, ready to run. A step blocks the thread that it runs on, so give the runner a thread of its own. It
 * may hold any number of states, each of which is one sequence; a state is left as it was where its step fails.
 */
export class ModelRunner implements Runner<SessionState> {
  readonly model: EngineModel;
  readonly #config: HymbaConfig;
  readonly #graphs: Readonly<Record<GraphMode, InferenceSession>>;
  /** Right after the meta tokens: where every sequence begins. */
  readonly #start: SessionState;

  /** Opens a converted model's folder. Throws `CheckpointError` for one that is damaged. */
  static async open(folder: string, options: ModelRunnerOptions): Promise<ModelRunner> {
    const converted = await openModel(folder);
    const graphs = {
      prefill: await openGraph(converted, 'prefill', options),
      decode: await openGraph(converted, 'decode', options),
    };
    const { config } = converted;
    const start = SessionState.blank(config);
    const metaIds = Array.from({ length: config.metaTokens }, (_, i) => config.vocabularySize + i);
    if (metaIds.length > 0) await step(config, graphs.prefill, start, { ids: metaIds, rows: [] });
    return new ModelRunner(converted, graphs, start);
  }

  private constructor(
    { config, fingerprint }: ConvertedModel,
    graphs: Readonly<Record<GraphMode, InferenceSession>>,
    start: SessionState,
  ) {
    this.#config = config;
    this.#graphs = graphs;
    this.#start = start;
    this.model = {
      fingerprint,
      vocabularySize: config.vocabularySize,
      contextLength: config.contextLength,
    };
  }

  newState(): SessionState {
    return this.#start.clone();
  }

  /**
   * Feeds `ids` and gives the logits [rows, vocabulary] of those asked for. Throws `RequestError` for ids outside the
   * vocabulary or the context, `ServerError` where the runtime fails.
   */
  async run(state: SessionState, { ids, rows }: Step): Promise<Float32Array> {
    const { vocabularySize, contextLength, metaTokens } = this.#config;
    if (ids.length === 0) throw new RequestError('invalid_value', 'a step needs at least one token');
    const unknown = ids.find((id) => !Number.isInteger(id) || id < 0 || id >= vocabularySize);
    if (unknown !== undefined) {
      throw new RequestError('invalid_value', `token id ${unknown} is not in 0 … ${vocabularySize - 1}`);
    }
    const tokens = state.length - metaTokens + ids.length;
    if (tokens > contextLength) {
      throw new RequestError(
        'context_length_exceeded',
        `${tokens} tokens do not fit the context of ${contextLength}`,
      );
    }
    const graph = ids.length === 1 ? this.#graphs.decode : this.#graphs.prefill;
    return step(this.#config, graph, state, { ids, rows });
  }

  /** A copy of what `state` remembers, from which this model goes on anywhere. */
  exportState(state: SessionState): SessionStateData {
    return state.toData(this.model.fingerprint);
  }

  /** Throws `MessageError` for a state of another model or another layout. */
  importState(data: SessionStateData): SessionState {
    if (data.fingerprint !== this.model.fingerprint) {
      throw new MessageError(
        'session state',
        `it belongs to model ${data.fingerprint}; this one is ${this.model.fingerprint}`,
      );
    }
    const state = this.newState();
    state.restore(data);
    return state;
  }

  /** Frees the model's memory; no step may be running or come after. */
  async close(): Promise<void> {
    await Promise.all(Object.values(this.#graphs).map((graph) => graph.release()));
  }
}

async function openGraph(
  { folder, weightForm }: ConvertedModel,
  mode: GraphMode,
  { threads }: ModelRunnerOptions,
): Promise<InferenceSession> {
  const file = join(folder, graphFiles[mode]);
  try {
    return await InferenceSession.create(file, {
      executionProviders: ['cpu'],
      intraOpNumThreads: threads,
      extra: {
        session: {
          // Waiting threads that spin take the cores that other workers on the machine need.
          intra_op: { allow_spinning: '0' },
          // Packing would copy the weights for each graph of each worker; as they are they stay mapped, and shared by all.
          disable_prepacking: weightForm === 'float32' ? '1' : '0',
        },
      },
    });
  } catch (error) {
    throw new CheckpointError('invalid_checkpoint', `${file} cannot be opened: ${String(error)}`, { file });
  }
}

/** One pass over new tokens of one sequence: runs the graph, then moves the state on. */
async function step(
  config: HymbaConfig,
  graph: InferenceSession,
  state: SessionState,
  { ids, rows }: Step,
): Promise<Float32Array> {
  const outputs = await graph.run(feeds(config, state, { ids, rows })).catch((error: unknown) => {
    throw new ServerError(`the model failed at position ${state.length}: ${String(error)}`);
  });
  const floats = (name: string): Float32Array => {
    const data = outputs[name]?.data;
    if (data instanceof Float32Array) return data;
    throw new ServerError(`the model gave no float32 "${name}"`);
  };
  const tokens = ids.length;
  const perLayer = (nameOf: (layer: number) => string) =>
    Array.from({ length: config.layers }, (_, layer) => floats(nameOf(layer)));
  state.advance({
    tokens,
    caches: config.caches.map((_, cache) => ({
      count: tokens,
      keys: floats(graphNames.newKeys(cache)),
      values: floats(graphNames.newValues(cache)),
    })),
    conv: perLayer(graphNames.newConv),
    ssm: perLayer(graphNames.newSsm),
  });
  return floats(graphNames.logits);
}

/** The inputs of a pass over one sequence; caches and states are given as they lie, not copied. */
function feeds(config: HymbaConfig, state: SessionState, { ids, rows }: Step): Record<string, Tensor> {
  const { kvHeads, keySize, valueSize, convKernel, innerSize, stateSize } = config;
  const { length } = state;
  const tokens = ids.length;
  const positions = ids.map((_, i) => length + i);
  const result: Record<string, Tensor> = {
    [graphNames.inputIds]: new Tensor('int64', BigInt64Array.from(ids, BigInt), [1, tokens]),
    [graphNames.positionIds]: new Tensor('int64', BigInt64Array.from(positions, BigInt), [1, tokens]),
    [graphNames.logitRows]: new Tensor('int64', BigInt64Array.from(rows, BigInt), [rows.length]),
  };
  for (const [index, cache] of state.caches.entries()) {
    const { kind, capacity, keys, values } = cache;
    // All caches of a kind have the same rows, and so the same mask.
    result[graphNames.bias(kind)] ??= new Tensor(
      'float32',
      attentionBias(config, cache, { length, tokens }),
      [1, 1, tokens, capacity + tokens],
    );
    result[graphNames.keyCache(index)] = new Tensor('float32', keys, [1, kvHeads, capacity, keySize]);
    result[graphNames.valueCache(index)] = new Tensor('float32', values, [1, kvHeads, capacity, valueSize]);
  }
  for (const [layer, conv] of state.conv.entries()) {
    result[graphNames.conv(layer)] = new Tensor('float32', conv, [1, convKernel - 1, innerSize]);
  }
  for (const [layer, ssm] of state.ssm.entries()) {
    result[graphNames.ssm(layer)] = new Tensor('float32', ssm, [1, stateSize, innerSize]);
  }
  return result;
}
