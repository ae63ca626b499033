import type { Engine } from '@baton/engine';
import { BatonError, outcomeOf, ServerError } from '@baton/errors';
import type { LogWriter, TokenLog } from '@baton/log';
import type { FinishReason, GenerationJob, LogState } from '@baton/protocol';
import { attributes, withSpan } from '@baton/telemetry';

export interface GenerationContext {
  readonly log: TokenLog;
  readonly engine: Engine;
  readonly workerId: string;
}

/**
 * Runs one job from claim to `finish`, the body of the queue's handler: what it throws decides the job's fate (see
 * `GenerationHandler`). A generation that failed for good has its `error` entry by then. Aborting `signal` stops at a
 * token boundary, for another worker to go on, and throws the signal's reason.
 */
export async function runGeneration(
  job: GenerationJob,
  signal: AbortSignal,
  { log, engine, workerId }: GenerationContext,
): Promise<void> {
  const { state, writer } = await withSpan('claim', {}, () => log.claim(job, workerId));
  if (writer === null) return;
  try {
    const { reason, sampled } = await run(job, { state, writer, engine, signal });
    await writer.append({
      kind: 'finish',
      reason,
      usage: {
        prompt_tokens: job.prompt.length,
        cached_tokens: 0,
        completion_tokens: state.tokens.length + sampled,
      },
    });
  } catch (error) {
    if (signal.aborted && error === signal.reason) throw error;
    const failure =
      error instanceof BatonError ? error : new ServerError('the worker failed', { cause: error });
    if (outcomeOf(failure.code).job === 'fail') {
      await writer.append({ kind: 'error', code: failure.code, message: failure.message });
    }
    throw failure;
  }
}

/** Prefills the prompt and what the log already holds, then decodes the rest into the log. */
async function run(
  job: GenerationJob,
  {
    state,
    writer,
    engine,
    signal,
  }: { state: LogState; writer: LogWriter; engine: Engine; signal: AbortSignal },
): Promise<{ reason: FinishReason; sampled: number }> {
  const outputs = engine
    .generate(
      {
        id: job.id,
        tenant: job.tenant,
        prompt: job.prompt,
        replay: state.tokens,
        replayTextLength: state.text.length,
        sampling: job.sampling,
        promptLogprobsFrom: state.promptLogprobs.length,
      },
      AbortSignal.any([writer.cancelled, writer.lost, signal]),
    )
    [Symbol.asyncIterator]();

  const prefill = {
    [attributes.inputTokens]: job.prompt.length,
    [attributes.replayedTokens]: state.tokens.length,
    [attributes.epoch]: state.epoch,
  };
  let next = await withSpan('prefill', { attributes: prefill }, async () => {
    let output = await outputs.next();
    while (!output.done && output.value.kind === 'prompt') {
      writer.push(output.value);
      output = await outputs.next();
    }
    return output;
  });

  return withSpan('decode', {}, async (span) => {
    let reason: FinishReason | undefined;
    let sampled = 0;
    while (!next.done) {
      const output = next.value;
      if (output.kind === 'tokens') {
        const { finish, ...entry } = output;
        writer.push(entry);
        sampled += entry.tokens.length;
        reason = finish;
      }
      next = await outputs.next();
    }
    await writer.flush();
    span.setAttribute(attributes.outputTokens, sampled);
    if (reason !== undefined) {
      span.setAttribute(attributes.finishReasons, [reason]);
      return { reason, sampled };
    }
    // The sequence was aborted, and not because the log is lost: `flush` would have thrown.
    if (!writer.cancelled.aborted) signal.throwIfAborted();
    return { reason: 'cancelled', sampled };
  });
}
