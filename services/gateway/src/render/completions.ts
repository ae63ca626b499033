import {
  type GenerationJob,
  type LogEntry,
  type LogState,
  parseMessage,
  type TokenLogprob,
} from '@baton/protocol';
import { z } from 'zod';
import type { CompletionHead } from './completion-head.ts';
import { finishReason } from './finish-reason.ts';
import type { TokenNames } from './logprobs.ts';
import { TextOffsets } from './text-offsets.ts';
import { type CompletionUsage, completionUsage } from './usage.ts';

const completionEcho = z.strictObject({
  /** The prompt's text where the request said `echo`, otherwise empty. */
  prompt_text: z.string(),
});
/** What a completion's job carries for rendering. */
export type CompletionEcho = z.infer<typeof completionEcho>;

/** One entry for each token, in the shape that evaluation harnesses read. */
interface CompletionLogprobs {
  readonly tokens: string[];
  /** Null for the first prompt token, which nothing predicts. */
  readonly token_logprobs: (number | null)[];
  readonly top_logprobs: (Record<string, number> | null)[];
  readonly text_offset: number[];
}

/** A whole completion, or a piece of a streamed one: the two look alike. */
export interface Completion extends CompletionHead {
  readonly object: 'text_completion';
  readonly choices: readonly {
    readonly index: number;
    readonly text: string;
    readonly logprobs: CompletionLogprobs | null;
    readonly finish_reason: 'stop' | 'length' | null;
  }[];
  /** Absent from a stream's pieces unless the client asked for it, and then null before the last. */
  readonly usage?: CompletionUsage | null;
}

/** The fold from one choice's log entries to its pieces. */
export function completionChunks(
  head: CompletionHead,
  index: number,
  names: TokenNames,
  includeUsage: boolean,
) {
  let offsets = new TextOffsets(names, '');
  const piece = (choice: Partial<Completion['choices'][number]>): Completion[] => [
    {
      ...head,
      object: 'text_completion',
      choices: [{ index, text: '', logprobs: null, finish_reason: null, ...choice }],
      ...(includeUsage && { usage: null }),
    },
  ];
  return (entry: LogEntry): Completion[] => {
    switch (entry.kind) {
      case 'queued': {
        const text = promptText(entry.job);
        offsets = new TextOffsets(names, text);
        return text === '' ? [] : piece({ text });
      }
      case 'prompt':
        return piece({ logprobs: renderLogprobs(entry.logprobs, [], offsets, names) });
      case 'tokens':
        if (entry.text === '' && !entry.logprobs?.length) return [];
        return piece({
          text: entry.text,
          logprobs: entry.logprobs ? renderLogprobs([], entry.logprobs, offsets, names) : null,
        });
      case 'finish':
        return piece({ finish_reason: finishReason(entry.reason) });
      default:
        return [];
    }
  };
}

/** The piece that ends a stream whose client asked for usage. */
export function completionUsageChunk(
  head: CompletionHead,
  states: readonly LogState[],
  choicesPerPrompt: number,
): Completion {
  return {
    ...head,
    object: 'text_completion',
    choices: [],
    usage: completionUsage(states, choicesPerPrompt),
  };
}

/** The JSON answer: one finished log for each choice. */
export function completion(
  head: CompletionHead,
  states: readonly LogState[],
  names: TokenNames,
  choicesPerPrompt: number,
): Completion {
  return {
    ...head,
    object: 'text_completion',
    choices: states.map(({ job, text, promptLogprobs, tokenLogprobs, terminal }, index) => {
      const echo = job ? promptText(job) : '';
      const offsets = new TextOffsets(names, echo);
      return {
        index,
        text: echo + text,
        logprobs:
          job?.sampling.logprobs == null
            ? null
            : renderLogprobs(promptLogprobs, tokenLogprobs, offsets, names),
        finish_reason: terminal?.kind === 'finish' ? finishReason(terminal.reason) : null,
      };
    }),
    usage: completionUsage(states, choicesPerPrompt),
  };
}

function promptText(job: GenerationJob): string {
  return parseMessage(completionEcho, job.echo, `job ${job.id}`).prompt_text;
}

function renderLogprobs(
  prompt: readonly TokenLogprob[],
  output: readonly TokenLogprob[],
  offsets: TextOffsets,
  names: TokenNames,
): CompletionLogprobs {
  const all = [...prompt, ...output];
  return {
    tokens: all.map(({ token }) => names.tokenText(token)),
    token_logprobs: all.map(({ logprob }) => logprob),
    top_logprobs: all.map((entry) => topLogprobs(entry, names)),
    text_offset: [
      ...prompt.map(({ token }) => offsets.ofPromptToken(token)),
      ...output.map(({ token }) => offsets.ofOutputToken(token)),
    ],
  };
}

/** The likeliest tokens by text, and always the token itself. Of tokens with the same text the likeliest counts. */
function topLogprobs(
  { token, logprob, top }: TokenLogprob,
  names: TokenNames,
): Record<string, number> | null {
  if (logprob === null) return null;
  const byText: Record<string, number> = {};
  for (const [id, value] of [...top, [token, logprob] as const]) {
    const text = names.tokenText(id);
    byText[text] = Math.max(byText[text] ?? Number.NEGATIVE_INFINITY, value);
  }
  return byText;
}
