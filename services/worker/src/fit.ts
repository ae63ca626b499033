import { DependencyError } from '@baton/errors';
import type { GenerationJob, LogState, WorkerStatus } from '@baton/protocol';

type Model = Pick<WorkerStatus, 'model' | 'fingerprint'>;

/** A generation is another worker's to run: its job goes back for a moment. */
export class UnfitError extends DependencyError {
  constructor(reason: string) {
    super('worker', reason);
  }
}

/** Nobody waits any more for what no worker has begun by then. */
export function isLate({ start_by }: GenerationJob): boolean {
  return start_by !== undefined && Date.now() > start_by;
}

/**
 * Why a generation is not to be run by a worker of the model `own` while others are `running`, which is null where it is not
 * known yet; null where it is. One of another model's name never is, but where it is too late for anybody whoever meets it ends
 * it. One that was begun with another model of this name waits for who runs that, as long as there is anybody: its text should
 * go on as it began.
 */
export function whyUnfit(
  job: GenerationJob,
  { epoch, lastClaim }: Pick<LogState, 'epoch' | 'lastClaim'>,
  own: Model,
  running: readonly Model[] | null,
): string | null {
  if (job.model !== own.model) {
    return epoch === 0 && isLate(job) ? null : `it is for the model ${job.model}; ${own.model} runs here`;
  }
  const former = lastClaim?.fingerprint ?? own.fingerprint;
  const isOfFormer = ({ model, fingerprint }: Model) => model === job.model && fingerprint === former;
  if (former === own.fingerprint || running?.some(isOfFormer) === false) return null;
  return `it was begun with ${job.model} of fingerprint ${former}, which others may run; ${own.fingerprint} runs here`;
}
