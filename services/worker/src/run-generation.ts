import type { Engine } from '@baton/engine';
import { BatonError, outcomeOf, QueueTimeoutError, ServerError } from '@baton/errors';
import type { FormerOwner, TokenLog } from '@baton/log';
import type { GenerationJob, LogState } from '@baton/protocol';
import { attributes, withSpan } from '@baton/telemetry';
import { begin } from './begun.ts';
import { isLate, UnfitError } from './fit.ts';
import { GenerationRun } from './generation-run.ts';
import {
  causeOf,
  inRestoreSpan,
  linksToFirstAttempt,
  recordFailure,
  recordFinish,
  recordRestore,
  recordTakeover,
} from './record.ts';
import type { Standby } from './standby.ts';
import type { Restored, SessionStates } from './states/session-states.ts';
import type { StateTracker } from './states/state-tracker.ts';

export interface GenerationContext {
  readonly log: TokenLog;
  readonly engine: Pick<Engine, 'generate'>;
  readonly states: SessionStates;
  readonly workerId: string;
  /** Tells this process from the one before it: a worker may keep its name when it is started again. */
  readonly process?: string;
  /** Of the model that it runs. */
  readonly fingerprint?: string;
  /** Why it is not to be run here, as its log is before the claim; null where it is. */
  readonly whyUnfit?: (state: Readonly<LogState>) => string | null;
  /** How many workers may be lost to one generation. */
  readonly maxClaims: number;
  /** Gets to know the generation's state once it has one. */
  readonly onProgress?: (tracker: StateTracker) => void;
  /** Hears what an owner begins with. */
  readonly onRestored?: (state: LogState, restored: Restored, former: FormerOwner | null) => void;
}

/**
 * Runs one job from claim to `finish`, the body of the queue's handler: what it throws decides the job's fate (see
 * `GenerationHandler`). A generation that failed for good has its `error` entry by then. Aborting `signal` stops at a
 * token boundary, for another worker to go on, and throws the signal's reason. What stands by for the generation saves
 * reading its log and restoring its state; it leaves the generation to another worker that was faster, and false is given.
 */
export async function runGeneration(
  job: GenerationJob,
  signal: AbortSignal,
  context: GenerationContext,
  standby: Standby | null = null,
): Promise<boolean> {
  const { log, engine, states, maxClaims, onProgress, onRestored } = context;
  const { state, writer, former, links, unfit } = await claim(job, context, standby);
  if (unfit !== null) throw new UnfitError(unfit);
  if (writer === null) return state.terminal !== null;
  let tracker: StateTracker | null = null;
  let ended = false;
  try {
    if (state.epoch === 1 && isLate(job)) throw new QueueTimeoutError();
    if (state.crashes >= maxClaims) {
      throw new ServerError(
        `the generation was given up: ${state.crashes} workers were lost while they ran it`,
      );
    }
    const begun =
      standby?.takeOver(state) ??
      begin(job, state, await inRestoreSpan({ links }, () => states.restore(job, state)), { engine, states });
    const { restored } = begun;
    tracker = begun.tracker;
    recordRestore(restored, job, state);
    onRestored?.(state, restored, former);
    onProgress?.(tracker);
    // What this generation itself had computed before its worker was lost is none of it.
    const found = restored.of === 'generation' ? 0 : Math.min(restored.tokens, job.prompt.length);
    const cached = state.cachedTokens || found;
    if (cached > state.cachedTokens) writer.push({ kind: 'restored', cached_tokens: cached });
    const run = new GenerationRun(job, { state, writer, signal, begun, states, links });
    const { reason, sampled } = await run.toEnd();
    await tracker.finish();
    const usage = {
      prompt_tokens: job.prompt.length,
      cached_tokens: cached,
      completion_tokens: state.tokens.length + sampled,
    };
    await writer.append({ kind: 'finish', reason, usage });
    ended = true;
    if (!job.continuable) tracker.drop();
    recordFinish(job, reason, usage);
    return true;
  } catch (error) {
    if (signal.aborted && error === signal.reason) throw error;
    const failure =
      error instanceof BatonError ? error : new ServerError('the worker failed', { cause: error });
    if (outcomeOf(failure.code).job === 'fail') {
      await writer.append({ kind: 'error', code: failure.code, message: failure.message });
      recordFailure(failure);
      if (tracker) tracker.drop();
      // What owners of before have stored.
      else void states.delete(job);
    }
    throw failure;
  } finally {
    const isForgotten = async () => {
      const state = await log.read(job.id);
      const end = state?.terminal?.kind;
      return state === null || end === 'error' || (end === 'finish' && !job.continuable);
    };
    // It is there until its time to live ends, where nobody can say.
    tracker?.close(isForgotten, ended).catch(() => {});
  }
}

/** An owner after the first one has `links` to the first one's attempt, for each of its spans. */
function claim(
  job: GenerationJob,
  { log, workerId, process, fingerprint, whyUnfit }: GenerationContext,
  standby: Standby | null,
) {
  return withSpan('claim', { attributes: { [attributes.workerId]: workerId } }, async (span) => {
    const claimant = { ...(process && { process }), ...(fingerprint && { fingerprint }) };
    let unfit: string | null = null;
    const mayClaim = (before: Readonly<LogState>) => {
      unfit = whyUnfit?.(before) ?? null;
      return unfit === null;
    };
    const options = { ...claimant, followed: standby?.log ?? null, mayClaim };
    const { state, writer, former } = await log.claim(job, workerId, options);
    const links = linksToFirstAttempt(state);
    span.setAttribute(attributes.epoch, state.epoch).addLinks(links);
    if (former !== null) recordTakeover(causeOf(former, claimant));
    return { state, writer, former, links, unfit: unfit as string | null };
  });
}
