import { LogCorruptedError } from '@baton/errors';
import type { GenerationJob } from './job.ts';
import type { LogEntry, LogEntryOf, TerminalEntry, TokenLogprob } from './log-entry.ts';
import { isTerminal } from './log-entry.ts';

/** What a log says so far. Everything a worker or a gateway knows about a generation is a fold of its entries. */
export interface LogState {
  readonly generationId: string;
  job: GenerationJob | null;
  /** Highest epoch claimed; 0 before the first claim. */
  epoch: number;
  /** How many owners were lost: they neither ended nor released, and another process claimed. */
  crashes: number;
  /** The worker that claimed last; null before the first claim, and once that one has released. */
  owner: string | null;
  /** The last claim, also of an owner that has released; null before the first one. */
  lastClaim: LogEntryOf<'claimed'> | null;
  /** How the worker that claimed last has released; null where it has not. */
  lastRelease: LogEntryOf<'released'> | null;
  /** Prompt tokens that were not computed for it, since an owner went on from a state that was there before. */
  cachedTokens: number;
  /** The next entry's sequence number. */
  nextSequenceNumber: number;
  /** How many prompt tokens have their log-probabilities in the log. */
  promptLogprobs: TokenLogprob[];
  tokens: number[];
  text: string;
  tokenLogprobs: TokenLogprob[];
  cancelRequested: boolean;
  terminal: TerminalEntry | null;
  /** W3C `traceparent` of the request, and of the attempt of each owner up to now; null and empty where nothing is traced. */
  traces: { request: string | null; readonly attempts: string[] };
}

export function emptyLogState(generationId: string): LogState {
  return {
    generationId,
    job: null,
    epoch: 0,
    crashes: 0,
    owner: null,
    lastClaim: null,
    lastRelease: null,
    cachedTokens: 0,
    nextSequenceNumber: 0,
    promptLogprobs: [],
    tokens: [],
    text: '',
    tokenLogprobs: [],
    cancelRequested: false,
    terminal: null,
    traces: { request: null, attempts: [] },
  };
}

/**
 * Applies the next entry to `state` in place. Refuses, with `LogCorruptedError`, whatever breaks the log's invariants:
 * contiguous sequence numbers, epochs that never decrease, one terminal entry and nothing after it.
 */
export function applyEntry(state: LogState, entry: LogEntry): void {
  if (entry.kind === 'cancel_requested') {
    state.cancelRequested = true;
    return;
  }
  const refuse = (reason: string): never => {
    throw new LogCorruptedError(state.generationId, `${entry.kind} entry ${reason}`);
  };
  if (state.job === null && entry.kind !== 'queued') refuse('before entry 0');
  if (state.terminal) refuse(`after the terminal ${state.terminal.kind} entry`);
  if (entry.kind === 'claimed') {
    if (entry.epoch !== state.epoch + 1) refuse(`claims epoch ${entry.epoch} on top of epoch ${state.epoch}`);
    if (state.owner !== null && !isSameProcess(state.lastClaim, entry)) state.crashes++;
    state.epoch = entry.epoch;
    state.owner = entry.worker;
    state.lastClaim = entry;
    state.lastRelease = null;
    return;
  }
  if (entry.kind === 'restored' || entry.kind === 'released') {
    if (entry.epoch !== state.epoch || state.owner === null)
      refuse(`of epoch ${entry.epoch}, the owner's is ${state.epoch}`);
    if (entry.kind === 'restored') {
      state.cachedTokens = entry.cached_tokens;
      return;
    }
    state.owner = null;
    state.lastRelease = entry;
    return;
  }
  if (entry.sequence_number !== state.nextSequenceNumber) {
    refuse(`has sequence number ${entry.sequence_number}, expected ${state.nextSequenceNumber}`);
  }
  if (entry.epoch !== state.epoch && entry.kind !== 'queued' && entry.kind !== 'error') {
    refuse(`has epoch ${entry.epoch}, the owner's is ${state.epoch}`);
  }
  state.nextSequenceNumber++;
  if (isTerminal(entry)) {
    state.terminal = entry;
    return;
  }
  switch (entry.kind) {
    case 'queued':
      state.job = entry.job;
      break;
    case 'prompt':
      if (entry.from !== state.promptLogprobs.length)
        refuse(`starts at ${entry.from}, expected ${state.promptLogprobs.length}`);
      state.promptLogprobs.push(...entry.logprobs);
      break;
    case 'tokens':
      state.tokens.push(...entry.tokens);
      state.text += entry.text;
      state.tokenLogprobs.push(...(entry.logprobs ?? []));
      break;
  }
}

/** Whether it is certain that one process made both claims: it has only come to the generation again. */
export function isSameProcess(
  former: Pick<LogEntryOf<'claimed'>, 'process'> | null,
  { process }: Pick<LogEntryOf<'claimed'>, 'process'>,
): boolean {
  return process !== undefined && former?.process === process;
}
