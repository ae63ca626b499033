import { errorCodes } from '@baton/errors';
import { z } from 'zod';
import { generationJobSchema } from './job.ts';
import { parseJson, parseMessage } from './parse.ts';

const v = z.literal(1);
const epoch = z.int().min(0);
const sequenceNumber = z.int().min(0);
const tokenId = z.int().min(0);

/** `top` holds [token id, log-probability] pairs, most likely first. */
export const tokenLogprobSchema = z.object({
  token: tokenId,
  /** Natural logarithm; null for the first prompt token, which nothing predicts. */
  logprob: z.number().nullable(),
  top: z.array(z.tuple([tokenId, z.number()])),
});
export type TokenLogprob = z.infer<typeof tokenLogprobSchema>;

export const finishReasonSchema = z.enum(['stop', 'length', 'cancelled']);
export type FinishReason = z.infer<typeof finishReasonSchema>;

export const usageSchema = z.object({
  prompt_tokens: z.int().min(0),
  cached_tokens: z.int().min(0),
  completion_tokens: z.int().min(0),
});
export type Usage = z.infer<typeof usageSchema>;

/**
 * One entry of a generation's token log. Entries with a `sequence_number` are the generation's history, counted
 * contiguously from 0; `claimed`, `restored`, `released` and `cancel_requested` are internal and carry none. Entries never change.
 */
export const logEntrySchema = z.discriminatedUnion('kind', [
  /** Entry 0: the generation was accepted. */
  z.object({
    v,
    kind: z.literal('queued'),
    epoch: z.literal(0),
    sequence_number: z.literal(0),
    job: generationJobSchema,
  }),
  /** A worker took ownership: appends of every lower epoch fail from here on. */
  z.object({
    v,
    kind: z.literal('claimed'),
    epoch: epoch.min(1),
    worker: z.string(),
    /** Of the worker's process, which has another one each time it starts. */
    process: z.string().optional(),
    /** Of the model that it runs. */
    fingerprint: z.string().optional(),
  }),
  /** The owner went on from a state that was there before the generation: so many prompt tokens were not computed for it. */
  z.object({ v, kind: z.literal('restored'), epoch: epoch.min(1), cached_tokens: z.int().min(1) }),
  /** The owner has stopped at a token boundary for another worker to go on. */
  z.object({
    v,
    kind: z.literal('released'),
    epoch: epoch.min(1),
    /** The worker that is to go on; null where the job goes back to the queue. Owners of before did not say. */
    target: z.string().nullable().optional(),
  }),
  /** Somebody asked for the generation to stop; its owner meets this entry at its next append or claim, or while it prefills. */
  z.object({ v, kind: z.literal('cancel_requested') }),
  /** Log-probabilities of prompt tokens `from`, `from + 1`, … */
  z.object({
    v,
    kind: z.literal('prompt'),
    epoch,
    sequence_number: sequenceNumber,
    from: z.int().min(0),
    logprobs: z.array(tokenLogprobSchema).min(1),
  }),
  /** Output tokens and the text they completed. Either may be empty, not both: text is held back while it may
   *  still become part of a character or a stop string, and comes out later, at the latest at the end. */
  z.object({
    v,
    kind: z.literal('tokens'),
    epoch,
    sequence_number: sequenceNumber,
    tokens: z.array(tokenId),
    text: z.string(),
    logprobs: z.array(tokenLogprobSchema).optional(),
  }),
  /** Terminal. */
  z.object({
    v,
    kind: z.literal('finish'),
    epoch,
    sequence_number: sequenceNumber,
    reason: finishReasonSchema,
    usage: usageSchema,
  }),
  /** Terminal. */
  z.object({
    v,
    kind: z.literal('error'),
    epoch,
    sequence_number: sequenceNumber,
    code: z.enum(errorCodes),
    message: z.string(),
  }),
]);

export type LogEntry = z.infer<typeof logEntrySchema>;
export type LogEntryOf<K extends LogEntry['kind']> = Extract<LogEntry, { kind: K }>;
export type TerminalEntry = LogEntryOf<'finish'> | LogEntryOf<'error'>;

/** What a worker appends: the log adds version, epoch and sequence number. */
export type WorkerEntry =
  | Pick<LogEntryOf<'prompt'>, 'kind' | 'from' | 'logprobs'>
  | Pick<LogEntryOf<'tokens'>, 'kind' | 'tokens' | 'text' | 'logprobs'>
  | Pick<LogEntryOf<'restored'>, 'kind' | 'cached_tokens'>
  | Pick<LogEntryOf<'released'>, 'kind' | 'target'>
  | Pick<LogEntryOf<'finish'>, 'kind' | 'reason' | 'usage'>
  | Pick<LogEntryOf<'error'>, 'kind' | 'code' | 'message'>;

export function isTerminal(entry: LogEntry): entry is TerminalEntry {
  return entry.kind === 'finish' || entry.kind === 'error';
}

/** Reads an entry from the log's bytes. Throws `MessageError`, naming `where` it was. */
export function readLogEntry(data: Uint8Array, where: string): LogEntry {
  const value = parseJson(data, where);
  return isPlainTokens(value) ? value : parseMessage(logEntrySchema, value, where);
}

/** Whether it is an entry of tokens without log-probabilities. Most are, and the schema takes far longer to say so. */
function isPlainTokens(value: unknown): value is LogEntryOf<'tokens'> {
  if (typeof value !== 'object' || value === null || Object.keys(value).length !== 6) return false;
  const { v, kind, epoch, sequence_number, tokens, text } = value as Record<string, unknown>;
  return (
    kind === 'tokens' &&
    v === 1 &&
    isCount(epoch) &&
    isCount(sequence_number) &&
    Array.isArray(tokens) &&
    tokens.every(isCount) &&
    typeof text === 'string'
  );
}

function isCount(value: unknown): boolean {
  return Number.isSafeInteger(value) && Number(value) >= 0;
}
