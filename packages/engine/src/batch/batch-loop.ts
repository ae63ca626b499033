import { BatonError, EngineDiedError, ServerError } from '@baton/errors';
import { Grammars } from '@baton/grammar';
import type { EngineCapacity, EngineOutput, EngineRequest, StepReport } from '../engine.ts';
import type { TakeOver } from '../engine-runs.ts';
import type { SequenceContext, Vocabulary } from '../sequence.ts';
import { checkStateMemory } from '../state/check-state-memory.ts';
import { Pace } from './pace.ts';
import { Run } from './run.ts';
import type { Runner, StateStep } from './runner.ts';
import { nextToAdmit, type Share, schedule } from './scheduler.ts';
import { type BatchOptions, type BatchSettings, batchSettings } from './settings.ts';

/** What happened to a run, in order: outputs, and then its end, unless it was aborted. */
export type RunEvent =
  | { readonly type: 'output'; readonly run: number; readonly output: EngineOutput }
  | { readonly type: 'ended'; readonly run: number }
  | { readonly type: 'failed'; readonly run: number; readonly error: BatonError };

export interface LoopOptions<State> extends BatchOptions {
  readonly runner: Runner<State>;
  readonly vocabulary: Vocabulary;
  /** Milliseconds since whenever. */
  readonly clock?: () => number;
}

/** How many tokens a sequence that stands by may be behind its owner, and still is said to have caught up. */
const nearTokens = 3;
/** How many tenants' last chunks are remembered. */
const mostTenants = 1000;

/** The engine's heart: many sequences share one model. They join and leave at every step. */
export class BatchLoop<State> {
  readonly #settings: BatchSettings;
  readonly #runner: Runner<State>;
  readonly #context: SequenceContext;
  readonly #clock: () => number;
  readonly #pace: Pace;
  #waiting: Run[] = [];
  readonly #running = new Map<Run, State>();
  readonly #aborted = new Set<Run>();
  readonly #drained = new Set<Run>();
  /** What sequences that stand by are to be told before the next step. */
  readonly #followed: {
    readonly id: number;
    readonly tokens: readonly number[];
    readonly takeOver: TakeOver | null;
  }[] = [];
  /** To be told with the next step. */
  readonly #events: RunEvent[] = [];
  /**
   * The step of each tenant's last chunk, the latest last. It outlives the tenant's sequences: one whose prompts are a chunk
   * each would otherwise come first again and again.
   */
  readonly #lastChunks = new Map<string, number>();
  /** Whether restoring a state took the place of the last step's chunk. */
  #restored = false;
  #arrivals = 0;
  #steps = 0;
  #sampled = 0;
  #report: StepReport | null = null;

  /** Throws `ConfigurationError` where the state memory has no room for one sequence of full length. */
  constructor({ runner, vocabulary, clock = () => performance.now(), ...options }: LoopOptions<State>) {
    this.#settings = { ...batchSettings(options), slots: runner.slots };
    this.#runner = runner;
    const { model } = runner;
    this.#context = { model, vocabulary, grammars: new Grammars(vocabulary, model.vocabularySize) };
    this.#clock = clock;
    this.#pace = new Pace(this.#settings.prefillChunk);
    const { contextLength } = model;
    checkStateMemory(this.#settings.stateMemory, runner.slotBytes(contextLength), contextLength);
  }

  get capacity(): EngineCapacity {
    const { slots, prefillChunk, stepTokens, stateMemory } = this.#settings;
    const stateBytes = {
      empty: this.#runner.slotBytes(0),
      full: this.#runner.slotBytes(this.#runner.model.contextLength),
    };
    const stateBytesLimit = Math.min(stateMemory, slots * stateBytes.full);
    return { slots, prefillChunk, stepTokens, stateBytes, stateBytesLimit };
  }

  /** Whether nothing is left to do or to tell. */
  get idle(): boolean {
    const told = this.#events.length + this.#followed.length + this.#aborted.size + this.#drained.size;
    if (told > 0) return false;
    for (const { pending, isCatchingUp } of this.#running.keys())
      if (pending > 0 || isCatchingUp) return false;
    return this.#nextToAdmit() === null;
  }

  /** Takes a sequence in, which events call `id`. One that cannot be run fails with the next step. */
  add(id: number, request: EngineRequest): void {
    try {
      const run = new Run(id, this.#arrivals++, request, this.#context);
      if (run.pending > 0 || run.sequence.standsBy) this.#waiting.push(run);
      else this.#end(run);
    } catch (error) {
      this.#fail(id, error);
    }
  }

  /** Ends a sequence, without an event, before the next step or after the one that is running. */
  abort(id: number): void {
    this.#waiting = this.#waiting.filter((run) => run.id !== id);
    for (const run of this.#running.keys()) if (run.id === id) this.#aborted.add(run);
    for (const run of this.#drained) if (run.id === id) this.#drained.delete(run);
  }

  /** Ends a sequence at the next token boundary, with its state where that was asked for. */
  drain(id: number): void {
    for (const run of [...this.#waiting, ...this.#running.keys()]) if (run.id === id) this.#drained.add(run);
  }

  /**
   * Feeds a sequence that stands by what its owner has logged since; with `takeOver` it goes on by itself from there. Nothing
   * happens where it has ended or was aborted.
   */
  follow(id: number, tokens: readonly number[], takeOver: TakeOver | null): void {
    this.#followed.push({ id, tokens, takeOver });
  }

  /** Schedule, run, postprocess. Gives all that happened since the last step. Throws what is not one sequence's failure. */
  async step(): Promise<RunEvent[]> {
    this.#steps++;
    this.#dropAborted();
    await this.#drain();
    await this.#follow();
    if (this.#events.length > 0) {
      // Not only after the next token.
      this.#note({ decoding: 0, decodeMs: 0, prefilled: 0, prefillMs: 0 });
      return this.#events.splice(0);
    }
    this.#restored = this.#admit();

    const lastChunkOf = (tenant: string) => this.#lastChunks.get(tenant) ?? 0;
    const plan = schedule([...this.#running.keys()], this.#settings, this.#pace.tokens, lastChunkOf);
    const { decoding } = plan;
    const chunks = this.#restored ? [] : plan.prefilling;
    const prefilling = chunks.map(({ entry, tokens }) => ({
      entry,
      tokens: entry.states.limit(entry.sequence.fed, tokens),
    }));
    const decodeMs = await this.#run(decoding);
    const prefillMs = await this.#run(prefilling, true);
    for (const { entry, tokens } of prefilling) {
      this.#noteChunk(entry.tenant);
      this.#pace.learn(tokens, prefillMs, decodeMs);
    }
    this.#note({
      decoding: decoding.length,
      decodeMs,
      prefilled: prefilling.reduce((sum, { tokens }) => sum + tokens, 0),
      prefillMs,
    });
    return this.#events.splice(0);
  }

  #note(work: Omit<StepReport, 'sampled' | 'stateBytes'>): void {
    const running = [...this.#running.keys()];
    // Every slot has room for as many tokens as the longest, from when those are known on.
    const longest = Math.max(0, ...running.map(({ sequence }) => sequence.fed + sequence.pending));
    const stateBytes = running.length * this.#runner.slotBytes(longest);
    this.#report = { ...work, sampled: this.#sampled, stateBytes };
    this.#sampled = 0;
  }

  /** What the last step did; null before the first. */
  get report(): StepReport | null {
    return this.#report;
  }

  /** Gives how many milliseconds the model took. */
  async #run(shares: readonly Share<Run>[], areChunks = false): Promise<number> {
    if (shares.length === 0) return 0;
    const steps = shares.map(({ entry, tokens }) => {
      const state = this.#running.get(entry) as State;
      return { state, ...entry.sequence.schedule(tokens) };
    });
    const start = this.#clock();
    const results = await this.#runner.runBatch(steps);
    const end = this.#clock();
    for (const [index, { entry, tokens }] of shares.entries()) {
      if (areChunks && entry.request.chunks) {
        const output = { kind: 'chunk', tokens, milliseconds: end - start } as const;
        this.#events.push({ type: 'output', run: entry.id, output });
      }
      await this.#postprocess(entry, steps[index] as StateStep<State>, results[index]);
    }
    return end - start;
  }

  #noteChunk(tenant: string): void {
    this.#lastChunks.delete(tenant);
    this.#lastChunks.set(tenant, this.#steps);
    const [oldest] = this.#lastChunks.keys();
    if (this.#lastChunks.size > mostTenants && oldest !== undefined) this.#lastChunks.delete(oldest);
  }

  #dropAborted(): void {
    for (const run of this.#aborted) this.#free(run);
    this.#aborted.clear();
  }

  async #drain(): Promise<void> {
    for (const run of this.#drained) {
      if (this.#running.has(run) && run.states.wanted) await this.#tellState(run);
      this.#events.push({ type: 'ended', run: run.id });
      this.#free(run);
    }
    this.#drained.clear();
  }

  async #follow(): Promise<void> {
    for (const { id, tokens, takeOver } of this.#followed.splice(0)) {
      const run = [...this.#waiting, ...this.#running.keys()].find((run) => run.id === id);
      if (!run?.sequence.standsBy) continue;
      try {
        run.sequence.follow(tokens);
        if (!takeOver) continue;
        this.#tellCaughtUp(run);
        await this.#tell(run, run.sequence.fed, run.sequence.takeOver(takeOver.replayTextLength));
      } catch (error) {
        this.#fail(id, error);
        this.#free(run);
      }
    }
    for (const run of this.#running.keys()) if (run.pending <= nearTokens) this.#tellCaughtUp(run);
  }

  #tellCaughtUp(run: Run): void {
    if (!run.isCatchingUp) return;
    run.isCatchingUp = false;
    this.#events.push({ type: 'output', run: run.id, output: { kind: 'caught up' } });
  }

  #nextToAdmit(): Run | null {
    const slotBytes = (tokens: number) => this.#runner.slotBytes(tokens);
    return nextToAdmit(this.#waiting, [...this.#running.keys()], this.#settings, slotBytes);
  }

  /**
   * Gives slots to those whose turn it is, and restores one state at most, which takes about as long as a chunk. Gives
   * whether that is to take the place of this step's chunk: while streams wait for it. Chunks and states take turns then.
   */
  #admit(): boolean {
    const running = [...this.#running.keys()];
    const streams = running.some(({ pending }) => pending === 1);
    const prompts = running.some(({ pending }) => pending > 1);
    let mayRestore = !(streams && prompts && this.#restored);
    let restored = false;
    for (;;) {
      const next = this.#nextToAdmit();
      if (next === null) return restored;
      const { resume } = next.request;
      if (resume && !mayRestore) return restored;
      this.#waiting = this.#waiting.filter((run) => run !== next);
      try {
        this.#running.set(
          next,
          resume ? this.#runner.importState(resume, next.request) : this.#runner.newState(next.request),
        );
      } catch (error) {
        this.#fail(next.id, error);
      }
      if (!resume) continue;
      mayRestore = false;
      restored = streams;
      if (streams) this.#noteChunk(next.tenant);
    }
  }

  async #postprocess(
    run: Run,
    step: StateStep<State>,
    result: Float32Array | BatonError | undefined,
  ): Promise<void> {
    if (this.#aborted.has(run)) return;
    const before = run.sequence.fed;
    try {
      if (!(result instanceof Float32Array)) throw result ?? new ServerError('the model gave no logits');
      await this.#tell(run, before, run.sequence.postprocess(step, result));
    } catch (error) {
      this.#fail(run.id, error);
      this.#free(run);
    }
  }

  /** What came of the tokens fed since `before`, and the end of a run that has nothing left to do. */
  async #tell(run: Run, before: number, outputs: readonly EngineOutput[]): Promise<void> {
    const { fed, pending, standsBy } = run.sequence;
    const ends = pending === 0 && !standsBy;
    const isWanted = run.states.isDue(before, fed) || (ends && run.states.wantedAtEnd);
    if (isWanted && this.#running.has(run)) await this.#tellState(run);
    for (const output of outputs) {
      if (output.kind === 'tokens') this.#sampled += output.tokens.length;
      this.#events.push({ type: 'output', run: run.id, output });
    }
    if (!ends) return;
    this.#end(run);
    this.#free(run);
  }

  #end({ id, sequence }: Run): void {
    if (sequence.endOfReplay) this.#events.push({ type: 'output', run: id, output: sequence.endOfReplay });
    this.#events.push({ type: 'ended', run: id });
  }

  async #tellState(run: Run): Promise<void> {
    const state = this.#running.get(run) as State;
    const delta = await this.#runner.exportState(state, run.states.take(run.sequence.fed));
    this.#events.push({ type: 'output', run: run.id, output: { kind: 'state', state: delta } });
  }

  #fail(id: number, error: unknown): void {
    if (error instanceof EngineDiedError) throw error;
    const failure = error instanceof BatonError ? error : new ServerError(String(error), { cause: error });
    this.#events.push({ type: 'failed', run: id, error: failure });
  }

  #free(run: Run): void {
    this.#waiting = this.#waiting.filter((waiting) => waiting !== run);
    const state = this.#running.get(run);
    if (this.#running.delete(run)) this.#runner.freeState(state as State);
  }
}
