import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { EngineDiedError, ServerError } from '@baton/errors';
import type { Device } from './device.ts';
import type {
  Engine,
  EngineCapacity,
  EngineModel,
  EngineOutput,
  EngineRequest,
  Standby,
  StepReport,
} from './engine.ts';
import { EngineRuns } from './engine-runs.ts';
import type { StateLayout } from './state/state-layout.ts';
import type { FromThread, ThreadOptions, ToThread } from './thread/messages.ts';
import { unpackEvent } from './thread/thread-event.ts';
import { unpackError } from './thread/thread-failure.ts';

/**
 * Opens a converted model on a thread of its own; `onProgress` hears what that thread is doing until it is ready, `onStep`
 * from then on of each step. Throws `CheckpointError` for a model that cannot be opened, `ConfigurationError` for settings that
 * cannot be met.
 */
export function createEngine(
  options: ThreadOptions,
  onProgress?: (stage: string) => void,
  onStep?: (report: StepReport) => void,
): Promise<Engine> {
  const thread = new Worker(new URL('./thread/model-thread.ts', import.meta.url), { workerData: options });
  return ThreadedEngine.over(thread, onProgress, onStep);
}

/**
 * An engine whose model runs on a worker thread, since a step of the model blocks the thread it runs on. Once that thread
 * died every running and every later `generate` throws `EngineDiedError`, and `died` resolves with it: start another engine.
 */
export class ThreadedEngine implements Engine {
  readonly model: EngineModel;
  readonly device: Device;
  readonly layout: StateLayout;
  readonly capacity: EngineCapacity;
  readonly #thread: Worker;
  readonly #runs: EngineRuns;
  #death: EngineDiedError | null = null;
  readonly #died = Promise.withResolvers<EngineDiedError>();

  /** An engine over a thread that runs `serve`, once it is ready. */
  static over(
    thread: Worker,
    onProgress: (stage: string) => void = () => {},
    onStep: (report: StepReport) => void = () => {},
  ): Promise<ThreadedEngine> {
    return new Promise((resolve, reject) => {
      const fail = (reason: string) => reject(new ServerError(`the model's thread did not start: ${reason}`));
      const receive = (message: FromThread) => {
        if (message.type === 'opening') return onProgress(message.stage);
        thread.off('message', receive);
        if (message.type === 'ready') resolve(new ThreadedEngine(thread, message, onStep));
        else if (message.type === 'refused') reject(unpackError(message.failure));
        else fail(`it began with ${message.type}`);
      };
      thread.on('message', receive);
      thread.once('error', (error) => fail(error.message));
      thread.once('exit', (code) => fail(`it exited with code ${code}`));
    });
  }

  private constructor(
    thread: Worker,
    { model, device, layout, capacity }: Pick<Engine, 'model' | 'device' | 'layout' | 'capacity'>,
    onStep: (report: StepReport) => void,
  ) {
    this.#thread = thread;
    this.model = model;
    this.device = device;
    this.layout = layout;
    this.capacity = capacity;
    this.#runs = new EngineRuns({
      add: (run, request) => this.#send({ type: 'generate', run, request }),
      abort: (run) => this.#send({ type: 'abort', run }),
      drain: (run) => this.#send({ type: 'drain', run }),
      follow: (run, tokens, takeOver) => this.#send({ type: 'follow', run, tokens, takeOver }),
    });
    thread.on('message', (message: FromThread) => {
      if (message.type === 'events') {
        if (message.report) onStep(message.report);
        this.#runs.deliver(message.events.map(unpackEvent));
      }
      if (message.type === 'refused') this.#die(unpackError(message.failure).message);
    });
    thread.on('error', (error) => this.#die(`the model's thread failed: ${error.message}`));
    thread.on('exit', (code) => this.#die(`the model's thread exited with code ${code}`));
  }

  generate(
    request: EngineRequest,
    signal: AbortSignal,
    drain?: AbortSignal,
  ): AsyncGenerator<EngineOutput, void, undefined> {
    return this.#runs.generate(request, signal, drain);
  }

  standBy(request: EngineRequest, signal: AbortSignal, drain?: AbortSignal): Standby {
    return this.#runs.standBy(request, signal, drain);
  }

  get died(): Promise<Error> {
    return this.#died.promise;
  }

  /** Ends what runs with `EngineDiedError`, and the thread after the step that it is in. */
  async close(): Promise<void> {
    if (this.#death) return;
    const exit = once(this.#thread, 'exit');
    this.#die('the engine was closed');
    this.#send({ type: 'close' });
    await exit;
  }

  #send(message: ToThread): void {
    this.#thread.postMessage(message);
  }

  #die(reason: string): void {
    this.#death ??= new EngineDiedError(reason);
    this.#died.resolve(this.#death);
    this.#runs.die(this.#death);
  }
}
