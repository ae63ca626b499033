import type { BatonError } from '@baton/errors';
import type { EngineModel, EngineRequest } from '../engine.ts';

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

/** The model as the engine's loop sees it: `State` is what it remembers of one sequence, in a slot of its own. */
export interface Runner<State> {
  readonly model: EngineModel;
  /** Sequences whose states it has room for. */
  readonly slots: number;
  /** Bytes of state of a sequence, where the longest of all has `tokens` tokens. */
  slotBytes(tokens: number): number;
  /** Takes a slot for a new sequence. Throws `RangeError` where none is free. */
  newState(request: EngineRequest): State;
  /** Gives a sequence's slot back. */
  freeState(state: State): void;
  /**
   * Feeds each sequence its tokens; those with one token run as one batch. Gives, for each step, the logits [rows,
   * vocabulary] of the rows asked for, the next token's in each row, or what this sequence failed with: its state is then
   * of no more use.
   */
  runBatch(steps: readonly StateStep<State>[]): Promise<readonly (Float32Array | BatonError)[]>;
}
