import { type EngineOutput, tokensOf } from '@baton/engine';
import type { LogWriter } from '@baton/log';
import type { FinishReason, GenerationJob, LogState } from '@baton/protocol';
import { HandedOver } from '@baton/queue';
import { attributes, withSpan } from '@baton/telemetry';
import { type Link, trace } from '@opentelemetry/api';
import type { Begun } from './begun.ts';
import { replayedOf } from './record.ts';
import type { SessionStates } from './states/session-states.ts';

export interface RunContext {
  readonly state: LogState;
  readonly writer: LogWriter;
  readonly signal: AbortSignal;
  readonly begun: Begun;
  readonly states: SessionStates;
  readonly links: Link[];
}

/** How often the log is looked into while nothing is appended: how late a cancel or a new owner is met at most. */
const checkMs = 250;

/** One owner's part of a generation: from the state that it begins with to the end, or to where it hands over. */
export class GenerationRun {
  readonly #job: GenerationJob;
  readonly #context: RunContext;
  /** Prompt and output. */
  readonly #tokens: number[];
  #saved: Promise<void> = Promise.resolve();

  constructor(job: GenerationJob, context: RunContext) {
    const { state, writer, signal, begun } = context;
    this.#job = job;
    this.#context = context;
    this.#tokens = [...job.prompt, ...state.tokens];
    begun.tracker.tokens = this.#tokens.length;
    for (const ended of [writer.cancelled, writer.lost]) whenAborted(ended, () => begun.stop.abort());
    // Whoever is ready to go on samples the token that is being computed here as soon as this worker could.
    whenAborted(signal, () => (this.#offered !== null ? begun.stop : begun.drain).abort());
  }

  /** Prefills the prompt and what the log already holds, then decodes the rest into the log. */
  async toEnd(): Promise<{ reason: FinishReason; sampled: number }> {
    const { state, writer, signal, begun, links } = this.#context;
    const first = await this.#prefill();
    return withSpan('decode', { links, attributes: { [attributes.epoch]: state.epoch } }, async (span) => {
      let reason: FinishReason | undefined;
      let next = first;
      while (!next.done) {
        this.#take(next.value);
        if (next.value.kind === 'tokens') reason = next.value.finish;
        next = await begun.outputs.next();
      }
      const sampled = this.#tokens.length - this.#job.prompt.length - state.tokens.length;
      span.setAttribute(attributes.outputTokens, sampled);
      const isHandedOver = reason === undefined && !writer.cancelled.aborted && signal.aborted;
      if (isHandedOver && this.#offered !== null) {
        span.addEvent('handed over');
        void begun.tracker.handOver();
        await writer.append({ kind: 'released', target: this.#offered });
        throw signal.reason;
      }
      await writer.flush();
      await this.#saved;
      if (reason !== undefined) {
        span.setAttribute(attributes.finishReasons, [reason]);
        return { reason, sampled };
      }
      // The sequence was stopped, and not because the log is lost: `flush` would have thrown.
      if (isHandedOver && !writer.cancelled.aborted) {
        span.addEvent('handed over');
        await begun.tracker.handOver();
        await writer.append({ kind: 'released', target: null });
        throw signal.reason;
      }
      return { reason: 'cancelled', sampled };
    });
  }

  /** Gives the first output with a token, or the end. Until then, also while it waits for a slot, nothing may be appended. */
  #prefill(): Promise<IteratorResult<EngineOutput>> {
    const { state, writer, begun, states, links } = this.#context;
    const spanAttributes = {
      [attributes.inputTokens]: this.#job.prompt.length,
      [attributes.replayedTokens]: replayedOf(begun.restored, this.#job, state),
      [attributes.epoch]: state.epoch,
    };
    return withSpan('prefill', { links, attributes: spanAttributes }, async () => {
      const start = performance.now();
      // What it fails with aborts `lost`, and stops the sequence.
      const checking = setInterval(() => writer.check().catch(() => {}), checkMs);
      try {
        let output = await begun.outputs.next();
        while (!output.done && output.value.kind !== 'tokens') {
          this.#take(output.value);
          output = await begun.outputs.next();
        }
        if (!begun.stoodBy && !output.done) {
          const fed = this.#tokens.length - tokensOf(begun.restored.state);
          states.costs.prefilled(fed, performance.now() - start);
        }
        return output;
      } finally {
        clearInterval(checking);
      }
    });
  }

  /** One other worker stands by, and has all that the log says or will have: nothing needs to be stored for it. */
  get #offered(): string | null {
    const { reason } = this.#context.signal;
    return reason instanceof HandedOver ? reason.target : null;
  }

  /** A state that the former owner has come to as well, and has stored. */
  #isOfBefore({ tokens }: { readonly tokens: number }): boolean {
    const { state, begun } = this.#context;
    return begun.stoodBy && tokens < this.#job.prompt.length + state.tokens.length;
  }

  #take(output: EngineOutput): void {
    const { writer, begun } = this.#context;
    switch (output.kind) {
      case 'prompt':
        writer.push(output);
        break;
      case 'chunk':
        trace.getActiveSpan()?.addEvent('chunk', { [attributes.inputTokens]: output.tokens });
        break;
      case 'caught up':
        break;
      case 'state':
        trace.getActiveSpan()?.addEvent('state', { [attributes.snapshotTokens]: output.state.tokens });
        // What is saved must not be ahead of the log, whose tokens alone another worker would know.
        this.#saved = begun.tracker.add(
          output.state,
          this.#tokens,
          this.#isOfBefore(output.state) ? null : writer.flush(),
        );
        break;
      case 'tokens': {
        const { finish: _, ...entry } = output;
        writer.push(entry);
        this.#tokens.push(...entry.tokens);
        begun.tracker.tokens = this.#tokens.length;
      }
    }
  }
}

function whenAborted(signal: AbortSignal, act: () => void): void {
  if (signal.aborted) act();
  else signal.addEventListener('abort', act, { once: true });
}
