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

/** The calls of `generate` on their way through a loop: each one's outputs, told apart by number. */
export class EngineRuns {
  readonly #loop: LoopControl;
  readonly #queues = new Map<number, OutputQueue<EngineOutput>>();
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
    if (this.#death) throw this.#death;
    if (signal.aborted || drain?.aborted) return;
    const run = this.#next++;
    this.#loop.add(run, request);
    yield* this.#read(run, this.#open(run), signal, drain);
  }

  /** What `Engine.standBy` promises. Whoever does not read its outputs has to abort `signal`. */
  standBy(request: EngineRequest, signal: AbortSignal, drain?: AbortSignal): Standby {
    if (this.#death) throw this.#death;
    const run = this.#next++;
    const outputs = this.#open(run);
    this.#loop.add(run, { ...request, standby: true });
    return {
      outputs: this.#read(run, outputs, signal, drain),
      follow: (tokens) => this.#loop.follow(run, tokens, null),
      takeOver: (replayTextLength) => this.#loop.follow(run, [], { replayTextLength }),
    };
  }

  #open(run: number): OutputQueue<EngineOutput> {
    const outputs = new OutputQueue<EngineOutput>();
    this.#queues.set(run, outputs);
    return outputs;
  }

  async *#read(
    run: number,
    outputs: OutputQueue<EngineOutput>,
    signal: AbortSignal,
    drain: AbortSignal | undefined,
  ): AsyncGenerator<EngineOutput, void, undefined> {
    const end = () => outputs.end();
    const drained = () => this.#loop.drain(run);
    signal.addEventListener('abort', end);
    drain?.addEventListener('abort', drained);
    try {
      for await (const output of outputs) {
        if (signal.aborted) return;
        yield output;
      }
    } finally {
      signal.removeEventListener('abort', end);
      drain?.removeEventListener('abort', drained);
      // Still there: the loop is not done with it, but the reader is.
      if (this.#queues.delete(run)) this.#loop.abort(run);
    }
  }

  /** Hands events to those that they are for. */
  deliver(events: readonly RunEvent[]): void {
    for (const event of events) {
      if (event.type === 'output') this.#queues.get(event.run)?.push(event.output);
      else this.#end(event.run, event.type === 'failed' ? event.error : undefined);
    }
  }

  /** Ends all runs, and every later one, with `death`. */
  die(death: Error): void {
    this.#death ??= death;
    for (const run of this.#queues.keys()) this.#end(run, this.#death);
  }

  #end(run: number, error?: Error): void {
    this.#queues.get(run)?.end(error);
    this.#queues.delete(run);
  }
}
