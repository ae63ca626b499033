import type { FinishReason, Sampling, TokenLogprob } from '@baton/protocol';
import type { Device } from './device.ts';
import type { SessionState, StateDelta } from './state/session-state.ts';
import type { StateLayout } from './state/state-layout.ts';

/** One sequence to run. */
export interface EngineRequest {
  readonly id: string;
  /** Slots are shared out evenly among tenants. */
  readonly tenant: string;
  /** Prompt token ids, at least one. */
  readonly prompt: readonly number[];
  /**
   * Output tokens that an earlier owner already logged, in order. They are teacher-forced in the prefill, never
   * sampled again; the sampler, the stop conditions and the detokeniser are rebuilt from them.
   */
  readonly replay: readonly number[];
  /** UTF-16 length of the output text already logged; text of the replayed tokens beyond it still comes out. */
  readonly replayTextLength: number;
  readonly sampling: Sampling;
  /** Prompt positions below this one already have their log-probabilities in the log. */
  readonly promptLogprobsFrom: number;
  /**
   * What the model remembers of the first tokens of prompt and replay, which are then not fed again. At least one token must
   * be left to feed, and every prompt token that is to be scored must come after it.
   */
  readonly resume?: SessionState;
  /** Which `state` outputs are wanted; none by default. */
  readonly states?: StateRequest;
  /** Whether `chunk` outputs are wanted; by default they are not. */
  readonly chunks?: boolean;
  /** Nothing is sampled until the owner of before has stopped: see `Engine.standBy`, which sets it. */
  readonly standby?: boolean;
}

/** A sequence that another owner still runs, kept ready to go on where that one stops. */
export interface Standby {
  readonly outputs: AsyncIterable<EngineOutput>;
  /** Takes tokens that the owner has logged since, to be fed. */
  follow(tokens: readonly number[]): void;
  /** The owner has stopped: samples from here on. So much output text is logged by now, in UTF-16 units. */
  takeOver(replayTextLength: number): void;
}

/** When a sequence's memory is to be copied out, each time only what is new. */
export interface StateRequest {
  /** After the step in which the tokens fed pass a multiple of this, and when the sequence is drained. */
  readonly every: number;
  /** Whether at the end as well; by default it is. */
  readonly atEnd?: boolean;
  /** And exactly after so many tokens. */
  readonly at?: readonly number[];
  /** A delta begins at the last multiple of this before the end of the one before it. */
  readonly pageTokens: number;
  /** Where the first delta begins: a multiple of `pageTokens`. */
  readonly from: number;
}

/** What a running sequence gives, in order; the last output carries `finish`. */
export type EngineOutput =
  /** The memory after all tokens that the model was fed so far; the last token sampled is not one of them. */
  | { readonly kind: 'state'; readonly state: StateDelta }
  /** So many tokens were fed, together and apart from those that decode, in so many milliseconds. */
  | { readonly kind: 'chunk'; readonly tokens: number; readonly milliseconds: number }
  /**
   * A sequence that stands by has its slot, and is hardly behind what it has been told. Comes once, at `takeOver` at the
   * latest.
   */
  | { readonly kind: 'caught up' }
  | { readonly kind: 'prompt'; readonly from: number; readonly logprobs: TokenLogprob[] }
  | {
      readonly kind: 'tokens';
      /** New token ids; empty where the sequence ends without one (a replay that was complete, `max_tokens` 0). */
      readonly tokens: number[];
      /** Text that became certain: whole characters, no part of a possible stop string. */
      readonly text: string;
      /** One for each token where the request asked for log-probabilities. */
      readonly logprobs?: TokenLogprob[];
      readonly finish?: FinishReason;
    };

export interface EngineModel {
  /** SHA-256 of what decides the arithmetic: configuration, weights, their form. Snapshots are tied to it. */
  readonly fingerprint: string;
  /** SHA-256 of what its tokens stand for; null or missing where that is not known. So are snapshots tied to it. */
  readonly tokenizer?: string | null;
  readonly vocabularySize: number;
  /** Prompt and output tokens together, at most. */
  readonly contextLength: number;
}

/** How much an engine runs at once. */
export interface EngineCapacity {
  /** Sequences that run at once; more wait. */
  readonly slots: number;
  /** Most tokens of a prompt that are prefilled in one step, and so between two tokens of a stream. */
  readonly prefillChunk: number;
  /** Most tokens that a step feeds while it decodes. */
  readonly stepTokens: number;
  /** Bytes of state of one sequence: without tokens, and with the whole context. */
  readonly stateBytes: { readonly empty: number; readonly full: number };
  /** Bytes that the states of all sequences can come to take, with what is kept for the next ones. */
  readonly stateBytesLimit: number;
}

/** What one step of the model did, and how much it has to do. */
export interface StepReport {
  /** Sequences that decoded together, and the milliseconds that took; 0 where none did. */
  readonly decoding: number;
  readonly decodeMs: number;
  /** The same of the tokens of prompts. */
  readonly prefilled: number;
  readonly prefillMs: number;
  /** Tokens that were sampled. */
  readonly sampled: number;
  /** Bytes that the states of what runs take; what is kept of earlier ones' for the next is not counted. */
  readonly stateBytes: number;
}

/** Runs sequences. Implementations: `ThreadedEngine` (the model on its own thread) and, for tests, `ScriptedEngine`. */
export interface Engine {
  readonly model: EngineModel;
  /** What the model runs on. */
  readonly device: Device;
  readonly layout: StateLayout;
  readonly capacity: EngineCapacity;
  /**
   * Runs one sequence. Aborting `signal` frees its slot within one step and ends the iteration without `finish`.
   * Aborting `drain` ends it at the next token boundary, without `finish`, and with a last `state` output where those were
   * asked for. Throws `ServerError` where this sequence fails, `EngineDiedError` where the engine as a whole does.
   */
  generate(request: EngineRequest, signal: AbortSignal, drain?: AbortSignal): AsyncIterable<EngineOutput>;
  /**
   * Takes a slot for a sequence and feeds it what an owner elsewhere has logged, and logs meanwhile, without sampling. From
   * `takeOver` on it is as `generate` has it. The prompt must not be one that is to be scored.
   */
  standBy(request: EngineRequest, signal: AbortSignal, drain?: AbortSignal): Standby;
  /** Resolves once the engine can run nothing any more, by failure or by `close`. */
  readonly died: Promise<Error>;
  close(): Promise<void>;
}
