import type { Engine, EngineOutput, EngineRequest } from '@baton/engine';
import type { GenerationJob, LogState } from '@baton/protocol';
import { trace } from '@opentelemetry/api';
import type { Restored, SessionStates } from './states/session-states.ts';
import type { StateTracker } from './states/state-tracker.ts';

/** A generation's sequence in the engine. */
export interface Begun {
  readonly restored: Restored;
  readonly tracker: StateTracker;
  readonly outputs: AsyncIterator<EngineOutput>;
  /** Ends it at once. */
  readonly stop: AbortController;
  /** Ends it at the next token boundary, with its state. */
  readonly drain: AbortController;
  /** Whether it stood by, fed and waiting, until its former owner stopped. */
  readonly stoodBy: boolean;
}

/** Has the engine go on from `restored`: feed what the log says, and sample the rest. */
export function begin(
  job: GenerationJob,
  state: LogState,
  restored: Restored,
  { engine, states }: { readonly engine: Pick<Engine, 'generate'>; readonly states: SessionStates },
): Begun {
  const tracker = states.track(job, restored);
  const [stop, drain] = [new AbortController(), new AbortController()];
  const request = requestOf(job, state, restored, tracker);
  const outputs = engine.generate(request, stop.signal, drain.signal)[Symbol.asyncIterator]();
  return { restored, tracker, outputs, stop, drain, stoodBy: false };
}

export function requestOf(
  job: GenerationJob,
  state: LogState,
  restored: Restored,
  tracker: StateTracker,
): EngineRequest {
  return {
    id: job.id,
    tenant: job.tenant,
    prompt: job.prompt,
    replay: [...state.tokens],
    replayTextLength: state.text.length,
    sampling: job.sampling,
    promptLogprobsFrom: state.promptLogprobs.length,
    ...(restored.state.length > 0 && { resume: restored.state }),
    states: tracker.request,
    chunks: trace.getActiveSpan()?.isRecording() ?? false,
  };
}
