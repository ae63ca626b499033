import type { BatonError } from '@baton/errors';
import type { EngineModel, EngineRequest } from '../engine.ts';
import type { SessionState, StateDelta } from '../state/session-state.ts';
import type { StateLayout } from '../state/state-layout.ts';

/** What one run asks of the model for one sequence. */
export interface Step {
  /** Token ids to feed, after all those the state remembers. */
  readonly ids: readonly number[];
  /** Indices into `ids` whose logits are wanted, ascending; may be none. */
  readonly rows: readonly number[];
}

export interface StateStep<State> extends Step {
  readonly state: State;
}

/**
 * The model as the engine's loop sees it: `State` is what it remembers of one sequence, in a slot of its own. Throws
 * `EngineDiedError`, from wherever it notices, once nothing can run any more.
 */
export interface Runner<State> {
  readonly model: EngineModel;
  readonly layout: StateLayout;
  /** Sequences whose states it has room for. */
  readonly slots: number;
  /** Bytes of state of a sequence, where the longest of all has `tokens` tokens. */
  slotBytes(tokens: number): number;
  /** Takes a slot for a new sequence. Throws `RangeError` where none is free. */
  newState(request: EngineRequest): State;
  /**
   * Takes a slot for a sequence that goes on from `state`. Throws `MessageError` for a state of another model or another
   * layout.
   */
  importState(state: SessionState, request: EngineRequest): State;
  /** A copy of what `state` remembers of the tokens from `from` on: see `StateDelta`. */
  exportState(state: State, from: number): Promise<StateDelta>;
  /** Gives a sequence's slot back. */
  freeState(state: State): void;
  /**
   * Feeds each sequence its tokens; those with one token run as one batch. Gives, for each step, the logits [rows,
   * vocabulary] of the rows asked for, the next token's in each row, or what this sequence failed with: its state is then
   * of no more use. Logits are to be read before the next call, which may overwrite them.
   */
  runBatch(steps: readonly StateStep<State>[]): Promise<readonly (Float32Array | BatonError)[]>;
}
