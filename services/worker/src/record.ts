import type { StepReport } from '@baton/engine';
import { BatonError } from '@baton/errors';
import type { FormerOwner } from '@baton/log';
import {
  finishReasonSchema,
  type GenerationJob,
  isSameProcess,
  type LogState,
  type Usage,
} from '@baton/protocol';
import { refusalReasons, type SaveResult } from '@baton/snapshot';
import {
  adderOf,
  attributes,
  count,
  linksTo,
  measure,
  observe,
  recorderOf,
  type SpanSettings,
  withSpan,
} from '@baton/telemetry';
import { type Attributes, type Link, trace } from '@opentelemetry/api';
import type { Restored, StateOwner } from './states/session-states.ts';

/** Links of an owner's spans after the first one's: to the first attempt. */
export function linksToFirstAttempt({ traces }: LogState): Link[] {
  return traces.attempts.length > 1 ? linksOfSuccessor({ traces }) : [];
}

/** The same of an owner that has not claimed yet. */
export function linksOfSuccessor({ traces }: Pick<LogState, 'traces'>): Link[] {
  return linksTo(traces.attempts[0] ?? null, { [attributes.link]: 'first_attempt' });
}

/** Why an owner goes on after a former one: that was lost, or has released it, or was this process itself. */
export function causeOf(
  former: FormerOwner,
  own: { readonly process?: string },
): 'failover' | 'migration' | 'resumption' {
  if (isSameProcess(former, own)) return 'resumption';
  return former.hasReleased ? 'migration' : 'failover';
}

/** Another worker goes on with a generation. */
export function recordTakeover(cause: ReturnType<typeof causeOf>): void {
  if (cause !== 'resumption') count('takeovers', 1, { [attributes.cause]: cause });
}

/** Runs `restore` in a span that says which way it took. */
export function inRestoreSpan(settings: SpanSettings, restore: () => Promise<Restored>): Promise<Restored> {
  return withSpan('restore', settings, async (span) => {
    const restored = await restore();
    const { source, of, why, tokens, bytes, milliseconds } = restored;
    span.setAttributes({
      [attributes.restoreSource]: source,
      [attributes.restoreReason]: why,
      [attributes.restoredTokens]: tokens,
      [attributes.restoredBytes]: bytes,
      [attributes.restoreMilliseconds]: milliseconds,
      ...(of && { [attributes.restoreOf]: of }),
    });
    return restored;
  });
}

const owners = ['generation', 'parent', 'prefix'] as const satisfies readonly StateOwner[];
/** Whose states there can be, by where they come from. */
const restoreSources: Record<Restored['source'], readonly (StateOwner | null)[]> = {
  none: [null],
  warm: owners,
  snapshot: owners,
};

function restoreLabels(source: string, of: StateOwner | null): Attributes {
  return { [attributes.restoreSource]: source, [attributes.restoreOf]: of ?? 'none' };
}

/** How many of the logged output tokens are to be computed again. */
export function replayedOf({ tokens: restored }: Restored, job: GenerationJob, { tokens }: LogState): number {
  return Math.max(0, Math.min(tokens.length, job.prompt.length + tokens.length - restored));
}

/** What a generation begins with, and how much of it has to be computed again. */
export function recordRestore(restored: Restored, job: GenerationJob, state: LogState): void {
  const { source, of, milliseconds } = restored;
  count('restores', 1, restoreLabels(source, of));
  if (source !== 'none')
    measure('restoreDuration', milliseconds / 1000, { [attributes.restoreSource]: source });
  const replayed = replayedOf(restored, job, state);
  if (replayed > 0) count('replayedTokens', replayed);
}

/** A snapshot was saved, or not: as metrics, and as a span that ends now. */
export function recordSave(result: SaveResult): void {
  if (result.kind === 'failed') {
    count('snapshots', 1, { [attributes.outcome]: result.reason });
    const failed = { [attributes.errorType]: result.reason };
    trace.getTracer('baton').startSpan('snapshot', { attributes: failed }).end();
    return;
  }
  const { tokens, rawBytes, storedBytes, newBytes, milliseconds } = result;
  count('snapshots', 1, { [attributes.outcome]: 'saved' });
  measure('snapshotDuration', milliseconds / 1000);
  const bytes = { raw: rawBytes, stored: storedBytes, new: newBytes };
  for (const [kind, size] of Object.entries(bytes)) count('snapshotBytes', size, { [attributes.kind]: kind });
  const saved = {
    [attributes.snapshotTokens]: tokens,
    [attributes.snapshotRawBytes]: rawBytes,
    [attributes.snapshotStoredBytes]: storedBytes,
    [attributes.snapshotNewBytes]: newBytes,
  };
  const startTime = Date.now() - milliseconds;
  trace.getTracer('baton').startSpan('snapshot', { startTime, attributes: saved }).end();
}

/** Gives what records each step of the model. */
export function stepRecorder(): (report: StepReport) => void {
  const batchSize = recorderOf('batchSize');
  const decodeSeconds = recorderOf('stepDuration', { [attributes.phase]: 'decode' });
  const prefillSeconds = recorderOf('stepDuration', { [attributes.phase]: 'prefill' });
  const tokensIn = adderOf('engineTokens', { [attributes.direction]: 'in' });
  const tokensOut = adderOf('engineTokens', { [attributes.direction]: 'out' });
  return ({ decoding, decodeMs, prefilled, prefillMs, sampled }) => {
    if (decoding > 0) {
      batchSize(decoding);
      decodeSeconds(decodeMs / 1000);
    }
    if (prefilled > 0) prefillSeconds(prefillMs / 1000);
    tokensIn(decoding + prefilled);
    tokensOut(sampled);
  };
}

/** What a worker holds whenever somebody looks. */
export function observeWorker(
  read: () => {
    readonly slots: { readonly used: number; readonly free: number };
    readonly stateBytes: { readonly running: number; readonly warm: number };
  },
): void {
  // From the beginning: what appears with a first event would hide that event from a rate.
  for (const cause of ['failover', 'migration']) count('takeovers', 0, { [attributes.cause]: cause });
  for (const metric of ['replayedTokens', 'fencedAppends', 'feedOverflows'] as const) count(metric, 0);
  for (const outcome of [...finishReasonSchema.options, 'queue_timeout', 'server_error']) {
    count('generations', 0, { [attributes.outcome]: outcome });
  }
  for (const [source, owners] of Object.entries(restoreSources)) {
    for (const of of owners) count('restores', 0, restoreLabels(source, of));
  }
  for (const outcome of ['saved', 'dependency_unavailable', 'store_full', 'foreign_session', 'failed']) {
    count('snapshots', 0, { [attributes.outcome]: outcome });
  }
  for (const reason of refusalReasons) count('restoreRefusals', 0, { [attributes.errorType]: reason });
  observe('slots', (result) => {
    for (const [state, slots] of Object.entries(read().slots)) {
      result.observe(slots, { [attributes.state]: state });
    }
  });
  observe('stateMemory', (result) => {
    for (const [state, bytes] of Object.entries(read().stateBytes)) {
      result.observe(bytes, { [attributes.state]: state });
    }
  });
}

export function recordFinish({ tenant }: GenerationJob, reason: string, usage: Usage): void {
  count('generations', 1, { [attributes.outcome]: reason });
  const kinds = {
    prompt: usage.prompt_tokens,
    cached: usage.cached_tokens,
    output: usage.completion_tokens,
  };
  for (const [kind, tokens] of Object.entries(kinds)) {
    count('tenantTokens', tokens, { [attributes.tenant]: tenant, [attributes.kind]: kind });
  }
}

/** A generation that ends in an error. */
export function recordFailure(error: unknown): void {
  count('generations', 1, {
    [attributes.outcome]: error instanceof BatonError ? error.code : 'server_error',
  });
}
