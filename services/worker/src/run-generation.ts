import { type Engine, type EngineOutput, tokensOf } from '@baton/engine';
import { BatonError, outcomeOf, QueueTimeoutError, ServerError } from '@baton/errors';
import type { LogWriter, TokenLog } from '@baton/log';
import { crashesOf, type FinishReason, type GenerationJob, type LogState } from '@baton/protocol';
import { HandedOver } from '@baton/queue';
import { attributes, withSpan } from '@baton/telemetry';
import { type Link, trace } from '@opentelemetry/api';
import {
  linksToFirstAttempt,
  recordFailure,
  recordFinish,
  recordRestore,
  recordTakeover,
  restoreAttributes,
} from './record.ts';
import type { Restored, SessionStates, StateTracker } from './states/session-states.ts';

export interface GenerationContext {
  readonly log: TokenLog;
  readonly engine: Engine;
  readonly states: SessionStates;
  readonly workerId: string;
  /** How many workers may be lost to one generation. */
  readonly maxClaims: number;
  /** Gets to know the generation's state once it has one. */
  readonly onProgress?: (tracker: StateTracker) => void;
  /** Hears what an owner begins with. */
  readonly onRestored?: (state: LogState, restored: Restored) => void;
}

/**
 * Runs one job from claim to `finish`, the body of the queue's handler: what it throws decides the job's fate (see
 * `GenerationHandler`). A generation that failed for good has its `error` entry by then. Aborting `signal` stops at a
 * token boundary, for another worker to go on, and throws the signal's reason.
 */
export async function runGeneration(
  job: GenerationJob,
  signal: AbortSignal,
  { log, engine, states, workerId, maxClaims, onProgress, onRestored }: GenerationContext,
): Promise<void> {
  const { state, writer, links } = await claim(job, log, workerId);
  if (writer === null) return;
  try {
    if (state.epoch === 1 && job.start_by !== undefined && Date.now() > job.start_by)
      throw new QueueTimeoutError();
    const crashes = crashesOf(state);
    if (crashes >= maxClaims) {
      throw new ServerError(`the generation was given up: ${crashes} workers were lost while they ran it`);
    }
    const restored = await restore(job, state, states, links);
    recordRestore(restored, job, state);
    onRestored?.(state, restored);
    const tracker = states.track(job, restored);
    onProgress?.(tracker);
    const run = new GenerationRun(job, { state, writer, engine, signal, restored, tracker, states, links });
    const { reason, sampled } = await run.toEnd();
    await tracker.finish();
    const usage = {
      prompt_tokens: job.prompt.length,
      // What this generation itself had computed before its worker was lost is none of it.
      cached_tokens: restored.of === 'generation' ? 0 : Math.min(restored.tokens, job.prompt.length),
      completion_tokens: state.tokens.length + sampled,
    };
    await writer.append({ kind: 'finish', reason, usage });
    recordFinish(job, reason, usage);
  } catch (error) {
    if (signal.aborted && error === signal.reason) throw error;
    const failure =
      error instanceof BatonError ? error : new ServerError('the worker failed', { cause: error });
    if (outcomeOf(failure.code).job === 'fail') {
      await writer.append({ kind: 'error', code: failure.code, message: failure.message });
      recordFailure(failure);
    }
    throw failure;
  }
}

/** An owner after the first one has `links` to the first one's attempt, for each of its spans. */
function claim(job: GenerationJob, log: TokenLog, workerId: string) {
  return withSpan('claim', { attributes: { [attributes.workerId]: workerId } }, async (span) => {
    const { state, writer, lostOwner } = await log.claim(job, workerId);
    const links = linksToFirstAttempt(state);
    span.setAttribute(attributes.epoch, state.epoch).addLinks(links);
    if (writer !== null && state.epoch > 1) recordTakeover(lostOwner);
    return { state, writer, links };
  });
}

function restore(
  job: GenerationJob,
  state: LogState,
  states: SessionStates,
  links: Link[],
): Promise<Restored> {
  return withSpan('restore', { links }, async (span) => {
    const restored = await states.restore(job, state);
    span.setAttributes(restoreAttributes(restored));
    return restored;
  });
}

interface RunContext {
  readonly state: LogState;
  readonly writer: LogWriter;
  readonly engine: Engine;
  readonly signal: AbortSignal;
  readonly restored: Restored;
  readonly tracker: StateTracker;
  readonly states: SessionStates;
  readonly links: Link[];
}

/** One owner's part of a generation: from the state that it restored to the end, or to where it hands over. */
class GenerationRun {
  readonly #job: GenerationJob;
  readonly #context: RunContext;
  readonly #outputs: AsyncIterator<EngineOutput>;
  /** Prompt and output. */
  readonly #tokens: number[];
  #saved: Promise<void> = Promise.resolve();

  constructor(job: GenerationJob, context: RunContext) {
    const { state, writer, engine, signal, restored, tracker } = context;
    this.#job = job;
    this.#context = context;
    this.#tokens = [...job.prompt, ...state.tokens];
    const request = {
      id: job.id,
      tenant: job.tenant,
      prompt: job.prompt,
      replay: state.tokens,
      replayTextLength: state.text.length,
      sampling: job.sampling,
      promptLogprobsFrom: state.promptLogprobs.length,
      ...(restored.state.length > 0 && { resume: restored.state }),
      states: tracker.request,
      chunks: trace.getActiveSpan()?.isRecording() ?? false,
    };
    const stop = AbortSignal.any([writer.cancelled, writer.lost]);
    this.#outputs = engine.generate(request, stop, signal)[Symbol.asyncIterator]();
  }

  /** Prefills the prompt and what the log already holds, then decodes the rest into the log. */
  async toEnd(): Promise<{ reason: FinishReason; sampled: number }> {
    const { state, writer, signal, tracker, links } = this.#context;
    const first = await this.#prefill();
    return withSpan('decode', { links, attributes: { [attributes.epoch]: state.epoch } }, async (span) => {
      let reason: FinishReason | undefined;
      let next = first;
      while (!next.done) {
        this.#take(next.value);
        if (next.value.kind === 'tokens') reason = next.value.finish;
        next = await this.#outputs.next();
      }
      await writer.flush();
      await this.#saved;
      const sampled = this.#tokens.length - this.#job.prompt.length - state.tokens.length;
      span.setAttribute(attributes.outputTokens, sampled);
      if (reason !== undefined) {
        span.setAttribute(attributes.finishReasons, [reason]);
        return { reason, sampled };
      }
      // The sequence was stopped, and not because the log is lost: `flush` would have thrown.
      if (!writer.cancelled.aborted && signal.aborted) {
        span.addEvent('handed over');
        const stored = tracker.handOver();
        if (!this.#isOffered) await stored;
        await writer.append({ kind: 'released' });
        throw signal.reason;
      }
      return { reason: 'cancelled', sampled };
    });
  }

  /** Gives the first output with a token, or the end. */
  #prefill(): Promise<IteratorResult<EngineOutput>> {
    const { state, restored, states, links } = this.#context;
    const spanAttributes = {
      [attributes.inputTokens]: this.#job.prompt.length,
      [attributes.replayedTokens]: state.tokens.length,
      [attributes.epoch]: state.epoch,
    };
    return withSpan('prefill', { links, attributes: spanAttributes }, async () => {
      const start = performance.now();
      let output = await this.#outputs.next();
      while (!output.done && output.value.kind !== 'tokens') {
        this.#take(output.value);
        output = await this.#outputs.next();
      }
      states.costs.prefilled(this.#tokens.length - tokensOf(restored.state), performance.now() - start);
      return output;
    });
  }

  /**
   * One other worker is ready to go on from the newest snapshot: what came since it computes again from the log, sooner than
   * this worker could store it.
   */
  get #isOffered(): boolean {
    return this.#context.signal.reason instanceof HandedOver;
  }

  #take(output: EngineOutput): void {
    const { writer, tracker } = this.#context;
    switch (output.kind) {
      case 'prompt':
        writer.push(output);
        break;
      case 'chunk':
        trace.getActiveSpan()?.addEvent('chunk', { [attributes.inputTokens]: output.tokens });
        break;
      case 'state':
        if (this.#isOffered) break;
        trace.getActiveSpan()?.addEvent('state', { [attributes.snapshotTokens]: output.state.tokens });
        // What is saved must not be ahead of the log, whose tokens alone another worker would know.
        this.#saved = tracker.add(output.state, this.#tokens, writer.flush());
        break;
      case 'tokens': {
        const { finish: _, ...entry } = output;
        writer.push(entry);
        this.#tokens.push(...entry.tokens);
      }
    }
  }
}
