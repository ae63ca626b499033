import type { RunEvent } from './batch/batch-loop.ts';
import type { EngineOutput, EngineRequest, Standby } from './engine.ts';
import { OutputQueue } from './output-queue.ts';

/** The way to the loop, which answers with events. */
export interface LoopControl {
  add(run: number, request: EngineRequest): void;
  abort(run: number): void;
  drain(run: number): void;
  /** See `BatchLoop.follow`. */
  follow(run: number, tokens: readonly number[], takeOver: TakeOver | null): void;
}

/** How an owner of before has left a sequence. */
export interface TakeOver {
  /** UTF-16 length of the output text that is logged. */
  readonly replayTextLength: number;
}

interface OpenRun {
  readonly outputs: OutputQueue<EngineOutput>;
  /** Lets go of its signals. */
  readonly release: () => void;
}

/** The calls of `generate` on their way through a loop: each one's outputs, told apart by number. */
export class EngineRuns {
  readonly #loop: LoopControl;
  /** Those that the loop is not done with, and their readers neither. */
  readonly #open = new Map<number, OpenRun>();
  #next = 0;
  #death: Error | null = null;

  constructor(loop: LoopControl) {
    this.#loop = loop;
  }

  /** What `Engine.generate` promises. */
  async *generate(
    request: EngineRequest,
    signal: AbortSignal,
    drain?: AbortSignal,
  ): AsyncGenerator<EngineOutput, void, undefined> {
    yield* this.#start(request, signal, drain).outputs;
  }

  /** What `Engine.standBy` promises. Whoever does not read its outputs has to abort `signal`. */
  standBy(request: EngineRequest, signal: AbortSignal, drain?: AbortSignal): Standby {
    const { run, outputs } = this.#start({ ...request, standby: true }, signal, drain);
    return {
      outputs,
      follow: (tokens) => this.#loop.follow(run, tokens, null),
      takeOver: (replayTextLength) => this.#loop.follow(run, [], { replayTextLength }),
    };
  }

  /** Its signals are heeded from here on, whether its outputs are read or not. */
  #start(request: EngineRequest, signal: AbortSignal, drain: AbortSignal | undefined) {
    if (this.#death) throw this.#death;
    const run = this.#next++;
    const outputs = new OutputQueue<EngineOutput>();
    if (signal.aborted || drain?.aborted) outputs.end();
    else {
      const abort = () => this.#abort(run);
      const drained = () => this.#loop.drain(run);
      signal.addEventListener('abort', abort);
      drain?.addEventListener('abort', drained);
      const release = () => {
        signal.removeEventListener('abort', abort);
        drain?.removeEventListener('abort', drained);
      };
      this.#open.set(run, { outputs, release });
      this.#loop.add(run, request);
    }
    return { run, outputs: this.#read(run, outputs, signal) };
  }

  async *#read(
    run: number,
    outputs: OutputQueue<EngineOutput>,
    signal: AbortSignal,
  ): AsyncGenerator<EngineOutput, void, undefined> {
    try {
      for await (const output of outputs) {
        if (signal.aborted) return;
        yield output;
      }
    } finally {
      this.#abort(run);
    }
  }

  /** Hands events to those that they are for. */
  deliver(events: readonly RunEvent[]): void {
    for (const event of events) {
      if (event.type === 'output') this.#open.get(event.run)?.outputs.push(event.output);
      else this.#end(event.run, event.type === 'failed' ? event.error : undefined);
    }
  }

  /** Ends all runs, and every later one, with `death`. */
  die(death: Error): void {
    this.#death ??= death;
    for (const run of this.#open.keys()) this.#end(run, this.#death);
  }

  /** Ends a run that the loop may not be done with. */
  #abort(run: number): void {
    if (this.#end(run)) this.#loop.abort(run);
  }

  /** False where it has ended before. */
  #end(run: number, error?: Error): boolean {
    const open = this.#open.get(run);
    open?.release();
    open?.outputs.end(error);
    return this.#open.delete(run);
  }
}
