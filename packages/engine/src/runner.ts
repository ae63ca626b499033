import type { EngineModel } from './engine.ts';

/** What one step asks of the model for one sequence. */
export interface Step {
  /** Token ids to feed, after all those the state remembers. */
  readonly ids: readonly number[];
  /** Indices into `ids` whose logits are wanted, ascending; may be none. */
  readonly rows: readonly number[];
}

/** The model as the engine's loop sees it: `State` is what it remembers of one sequence. */
export interface Runner<State> {
  readonly model: EngineModel;
  newState(): State;
  /** Feeds `step.ids` and gives the logits [rows, vocabulary] of those asked for, the next token's in each row. */
  run(state: State, step: Step): Promise<Float32Array>;
}
