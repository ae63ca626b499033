/** How an engine shares the model among sequences. */
export interface BatchSettings {
  /** Sequences that run at once. */
  readonly slots: number;
  /** Most tokens that one prefill feeds, and so the longest that an abort, or a stream beside it, waits. */
  readonly prefillChunk: number;
  /** Most tokens that a step feeds beside streams: each stream's one, and a prefill's with what is left, or fewer (`Pace`). */
  readonly stepTokens: number;
  /** Bytes that the states of all running sequences may take. */
  readonly stateMemory: number;
}

/** What is not set, or `undefined`, has its default. */
export type BatchOptions = { readonly [Name in keyof BatchSettings]?: BatchSettings[Name] | undefined };

export function batchSettings({ slots, prefillChunk, stepTokens, stateMemory }: BatchOptions): BatchSettings {
  return {
    slots: slots ?? 8,
    // More tokens at once prefill no faster.
    prefillChunk: prefillChunk ?? 64,
    stepTokens: stepTokens ?? 64,
    stateMemory: stateMemory ?? Number.POSITIVE_INFINITY,
  };
}
