import type { FinishReason, LogEntry, LogState, TokenLogprob } from '@baton/protocol';
import type { CompletionHead } from './completion-head.ts';
import { finishReason } from './finish-reason.ts';
import { type RenderedLogprob, renderLogprob, type TokenNames } from './logprobs.ts';
import { type CompletionUsage, completionUsage } from './usage.ts';

interface ChatLogprobs {
  readonly content: RenderedLogprob[];
  readonly refusal: null;
}

export interface ChatChunk extends CompletionHead {
  readonly object: 'chat.completion.chunk';
  readonly choices: readonly {
    readonly index: number;
    readonly delta: { readonly role?: 'assistant'; readonly content?: string };
    readonly logprobs: ChatLogprobs | null;
    readonly finish_reason: 'stop' | 'length' | null;
  }[];
  /** Null before the last chunk, and absent unless the client asked for it. */
  readonly usage?: CompletionUsage | null;
}

/** The fold from one choice's log entries to its chunks. */
export function chatChunks(head: CompletionHead, index: number, names: TokenNames, includeUsage: boolean) {
  const chunk = (
    delta: ChatChunk['choices'][number]['delta'],
    rest: { logprobs?: readonly TokenLogprob[] | undefined; finish?: FinishReason } = {},
  ): ChatChunk => ({
    ...head,
    object: 'chat.completion.chunk',
    choices: [
      {
        index,
        delta,
        logprobs: rest.logprobs ? chatLogprobs(rest.logprobs, names) : null,
        finish_reason: rest.finish ? finishReason(rest.finish) : null,
      },
    ],
    ...(includeUsage && { usage: null }),
  });
  return (entry: LogEntry): ChatChunk[] => {
    switch (entry.kind) {
      case 'queued':
        return [chunk({ role: 'assistant', content: '' })];
      case 'tokens':
        if (entry.text === '' && !entry.logprobs?.length) return [];
        return [chunk({ content: entry.text }, { logprobs: entry.logprobs })];
      case 'finish':
        return [chunk({}, { finish: entry.reason })];
      default:
        return [];
    }
  };
}

/** The chunk that ends a stream whose client asked for usage. */
export function chatUsageChunk(head: CompletionHead, states: readonly LogState[]): ChatChunk {
  return {
    ...head,
    object: 'chat.completion.chunk',
    choices: [],
    usage: completionUsage(states, states.length),
  };
}

/** The JSON answer: one finished log for each choice. */
export function chatCompletion(head: CompletionHead, states: readonly LogState[], names: TokenNames) {
  return {
    ...head,
    object: 'chat.completion',
    choices: states.map((state, index) => ({
      index,
      message: { role: 'assistant', content: state.text, refusal: null, annotations: [] },
      logprobs: state.job?.sampling.logprobs == null ? null : chatLogprobs(state.tokenLogprobs, names),
      finish_reason: state.terminal?.kind === 'finish' ? finishReason(state.terminal.reason) : null,
    })),
    usage: completionUsage(states, states.length),
  } as const;
}

function chatLogprobs(logprobs: readonly TokenLogprob[], names: TokenNames): ChatLogprobs {
  return { content: logprobs.map((entry) => renderLogprob(entry, names)), refusal: null };
}
