import {
  type FinishReason,
  type GenerationJob,
  type LogEntry,
  type LogState,
  parseMessage,
  type TokenLogprob,
} from '@baton/protocol';
import { z } from 'zod';
import type { CompletionHead } from './completion-head.ts';
import { finishReason } from './finish-reason.ts';
import { type RenderedLogprob, renderLogprob, type TokenNames } from './logprobs.ts';
import { callId } from './output-items.ts';
import { OutputParser, type OutputPart, parseOutput, toolCallRules } from './output-parser.ts';
import { type CompletionUsage, completionUsage } from './usage.ts';

const chatEcho = z.strictObject({
  /** How calls are told from text in the output; null where nothing may be called. */
  tool_calls: toolCallRules.nullable(),
});
/** What a chat completion's job carries for rendering. */
export type ChatEcho = z.infer<typeof chatEcho>;

interface ChatToolCall {
  readonly id: string;
  readonly type: 'function';
  readonly function: { readonly name: string; readonly arguments: string };
}

interface ChatLogprobs {
  readonly content: RenderedLogprob[];
  readonly refusal: null;
}

type ChatFinishReason = ReturnType<typeof finishReason> | 'tool_calls';

export interface ChatChunk extends CompletionHead {
  readonly object: 'chat.completion.chunk';
  readonly choices: readonly {
    readonly index: number;
    readonly delta: {
      readonly role?: 'assistant';
      readonly content?: string;
      readonly tool_calls?: readonly (ChatToolCall & { readonly index: number })[];
    };
    readonly logprobs: ChatLogprobs | null;
    readonly finish_reason: ChatFinishReason | null;
  }[];
  /** Null before the last chunk, and absent unless the client asked for it. */
  readonly usage?: CompletionUsage | null;
}

/** The fold from one choice's log entries to its chunks. */
export function chatChunks(head: CompletionHead, index: number, names: TokenNames, includeUsage: boolean) {
  const chunk = (
    delta: ChatChunk['choices'][number]['delta'],
    rest: { logprobs?: readonly TokenLogprob[] | undefined; finish?: ChatFinishReason } = {},
  ): ChatChunk => ({
    ...head,
    object: 'chat.completion.chunk',
    choices: [
      {
        index,
        delta,
        logprobs: rest.logprobs ? chatLogprobs(rest.logprobs, names) : null,
        finish_reason: rest.finish ?? null,
      },
    ],
    ...(includeUsage && { usage: null }),
  });
  let parser = new OutputParser(null);
  let generationId = '';
  let calls = 0;
  /** Of tokens whose text is still held back. */
  let pending: TokenLogprob[] = [];

  function write(parts: readonly OutputPart[]): ChatChunk[] {
    const chunks = parts.map((part): ChatChunk => {
      const logprobs = pending.length > 0 ? pending : undefined;
      pending = [];
      if (part.kind === 'text') return chunk({ content: part.text }, { logprobs });
      const call = { index: calls, ...toolCall(generationId, calls, part) };
      calls++;
      return chunk({ tool_calls: [call] }, { logprobs });
    });
    return chunks;
  }

  return (entry: LogEntry): ChatChunk[] => {
    switch (entry.kind) {
      case 'queued':
        parser = new OutputParser(readChatEcho(entry.job).tool_calls);
        generationId = entry.job.id;
        return [chunk({ role: 'assistant', content: '' })];
      case 'tokens':
        pending.push(...(entry.logprobs ?? []));
        return write(parser.push(entry.text));
      case 'finish': {
        const last = write(parser.end());
        const rest = {
          finish: chatFinishReason(entry.reason, calls > 0),
          logprobs: pending.length > 0 ? pending : undefined,
        };
        return [...last, chunk({}, rest)];
      }
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
    choices: states.map((state, index) => choice(state, index, names)),
    usage: completionUsage(states, states.length),
  } as const;
}

function choice({ job, text, terminal, tokenLogprobs }: LogState, index: number, names: TokenNames) {
  const parts = job ? parseOutput(text, readChatEcho(job).tool_calls, true) : [];
  const calls = parts.filter((part) => part.kind === 'call');
  const said = parts.flatMap((part) => (part.kind === 'text' ? [part.text] : [])).join('');
  return {
    index,
    message: {
      role: 'assistant',
      content: calls.length > 0 && said === '' ? null : said,
      refusal: null,
      annotations: [],
      ...(job && calls.length > 0 && { tool_calls: calls.map((call, i) => toolCall(job.id, i, call)) }),
    },
    logprobs: job?.sampling.logprobs == null ? null : chatLogprobs(tokenLogprobs, names),
    finish_reason: terminal?.kind === 'finish' ? chatFinishReason(terminal.reason, calls.length > 0) : null,
  } as const;
}

function readChatEcho(job: GenerationJob): ChatEcho {
  return parseMessage(chatEcho, job.echo, `job ${job.id}`);
}

function toolCall(
  generationId: string,
  index: number,
  { name, arguments: args }: Extract<OutputPart, { kind: 'call' }>,
): ChatToolCall {
  return { id: callId(generationId, index), type: 'function', function: { name, arguments: args } };
}

function chatFinishReason(reason: FinishReason, called: boolean): ChatFinishReason {
  const ended = finishReason(reason);
  return called && ended === 'stop' ? 'tool_calls' : ended;
}

function chatLogprobs(logprobs: readonly TokenLogprob[], names: TokenNames): ChatLogprobs {
  return { content: logprobs.map((entry) => renderLogprob(entry, names)), refusal: null };
}
