import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { EngineDiedError, ServerError } from '@baton/errors';
import type { Engine, EngineModel, EngineOutput, EngineRequest } from './engine.ts';
import { OutputQueue } from './output-queue.ts';
import type { FromThread, ThreadOptions, ToThread } from './thread/messages.ts';
import { unpackError } from './thread/thread-failure.ts';

/** Opens a converted model on a thread of its own. Throws `CheckpointError` for one that cannot be opened. */
export function createEngine(options: ThreadOptions): Promise<Engine> {
  return ThreadedEngine.over(
    new Worker(new URL('./thread/model-thread.ts', import.meta.url), { workerData: options }),
  );
}

/**
 * An engine whose model runs on a worker thread, since a step of the model blocks the thread it runs on. Once that thread
 * died every running and every later `generate` throws `EngineDiedError`, and `died` resolves with it: start another engine.
 */
export class ThreadedEngine implements Engine {
  readonly model: EngineModel;
  readonly #thread: Worker;
  readonly #runs = new Map<number, OutputQueue<EngineOutput>>();
  #nextRun = 0;
  #death: EngineDiedError | null = null;
  readonly #died = Promise.withResolvers<EngineDiedError>();

  /** An engine over a thread that runs `serve`, once it is ready. */
  static over(thread: Worker): Promise<ThreadedEngine> {
    return new Promise((resolve, reject) => {
      const fail = (reason: string) => reject(new ServerError(`the model's thread did not start: ${reason}`));
      thread.once('error', (error) => fail(error.message));
      thread.once('exit', (code) => fail(`it exited with code ${code}`));
      thread.once('message', (message: FromThread) => {
        if (message.type === 'ready') resolve(new ThreadedEngine(thread, message.model));
        else if (message.type === 'refused') reject(unpackError(message.failure));
        else fail(`it began with ${message.type}`);
      });
    });
  }

  private constructor(thread: Worker, model: EngineModel) {
    this.#thread = thread;
    this.model = model;
    thread.on('message', (message: FromThread) => this.#receive(message));
    thread.on('error', (error) => this.#die(`the model's thread failed: ${error.message}`));
    thread.on('exit', (code) => this.#die(`the model's thread exited with code ${code}`));
  }

  async *generate(
    request: EngineRequest,
    signal: AbortSignal,
  ): AsyncGenerator<EngineOutput, void, undefined> {
    if (this.#death) throw this.#death;
    if (signal.aborted) return;
    const run = this.#nextRun++;
    const outputs = new OutputQueue<EngineOutput>();
    const end = () => outputs.end();
    signal.addEventListener('abort', end);
    this.#runs.set(run, outputs);
    try {
      this.#send({ type: 'generate', run, request });
      for await (const output of outputs) {
        if (signal.aborted) return;
        yield output;
      }
    } finally {
      signal.removeEventListener('abort', end);
      // Still there: the thread is not done with it, but the reader is.
      if (this.#runs.delete(run)) this.#send({ type: 'abort', run });
    }
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

  #receive(message: FromThread): void {
    switch (message.type) {
      case 'output':
        this.#runs.get(message.run)?.push(message.output);
        break;
      case 'ended':
        this.#end(message.run);
        break;
      case 'failed':
        this.#end(message.run, unpackError(message.failure));
        break;
      case 'refused':
        this.#die(unpackError(message.failure).message);
        break;
      case 'ready':
        break;
    }
  }

  #end(run: number, error?: Error): void {
    this.#runs.get(run)?.end(error);
    this.#runs.delete(run);
  }

  #die(reason: string): void {
    this.#death ??= new EngineDiedError(reason);
    this.#died.resolve(this.#death);
    for (const run of this.#runs.keys()) this.#end(run, this.#death);
  }
}
