import { DependencyError } from '@baton/errors';
import type { LogSubscription } from '@baton/log';
import type { GenerationJob, LogState } from '@baton/protocol';
import { attributes, linksTo, requestSpan, withSpan } from '@baton/telemetry';
import { type Attributes, trace } from '@opentelemetry/api';
import type { Gateway, TenantGateway } from '../gateway.ts';
import { admit } from '../limits/admission.ts';
import type { Reservation } from '../limits/rate-limits.ts';
import { GenerationTimes } from '../record.ts';
import type { Origin } from './origin.ts';

/** A generation and the feed of its log. */
export interface Generation {
  readonly job: GenerationJob;
  readonly feed: LogSubscription;
  /** Of one that was handed over here: how long it takes. */
  times?: GenerationTimes;
  /** Of the first one of a request: what the whole request counts with. */
  reservation?: Reservation;
}

/** Listens for a generation, which may not be there yet: whatever happens to it from here on is not missed. */
export async function subscribe({ log }: Gateway, job: GenerationJob): Promise<Generation> {
  return { job, feed: await log.subscribe(job.id, { announce: true }) };
}

/**
 * Hands one request's generations over to the workers, unless they are there already since the request was made before.
 * Throws `OverloadedError` where the queue has no room for them, and as `enqueue`.
 */
export async function startAll(
  gateway: TenantGateway,
  given: readonly GenerationJob[],
  { repeated }: Origin,
): Promise<Generation[]> {
  const jobs = given.map(
    (job): GenerationJob => ({ ...job, start_by: Date.now() + gateway.settings.queueTimeoutMs }),
  );
  const known = repeated ? await Promise.all(jobs.map(({ id }) => gateway.log.read(id))) : [];
  const missing = jobs.filter((_, i) => !known[i]);
  const reservation = missing.length > 0 ? await admit(gateway, missing) : null;
  const generations = await subscribeAll(gateway, jobs);
  const added = generations.filter(({ job }) => missing.includes(job));
  if (added.length > 0) await enqueue(gateway, added, reservation);
  if (known[0]) nameReturn(known[0]);
  return generations;
}

/** Listens for every generation, or for none where one fails. */
export async function subscribeAll(gateway: Gateway, jobs: readonly GenerationJob[]): Promise<Generation[]> {
  const results = await Promise.allSettled(jobs.map((job) => subscribe(gateway, job)));
  const generations = results.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
  const failure = results.find((result) => result.status === 'rejected');
  if (!failure) return generations;
  for (const { feed } of generations) feed.close();
  throw failure.reason;
}

/**
 * Hands one request's generations, which are subscribed to, over to the workers: adding their jobs is the commit point.
 * Throws `DependencyError` where Redis does not answer, `RequestError` for what the log cannot hold; the generations are
 * then closed and withdrawn.
 */
export async function enqueue(
  gateway: Gateway,
  generations: readonly Generation[],
  reservation: Reservation | null,
): Promise<void> {
  nameRequestSpan(gateway, generations);
  const [first] = generations;
  if (first && reservation) first.reservation = reservation;
  for (const generation of generations) generation.times = new GenerationTimes(generation.job);
  await withSpan('enqueue', {}, async () => {
    try {
      await Promise.all(generations.map(({ job }) => gateway.queue.add(job)));
      await Promise.all(generations.map(({ job }) => appendQueued(gateway, job)));
    } catch (error) {
      for (const { feed } of generations) feed.close();
      await Promise.allSettled(generations.map(({ job }) => withdraw(gateway, job)));
      throw error;
    }
  });
}

/** Says which model the request's span is about, and under which id its generations are found. */
function nameRequestSpan({ model: { tokenizer }, settings }: Gateway, [first]: readonly Generation[]): void {
  if (first === undefined) return;
  trace.getActiveSpan()?.setAttributes({
    ...namesOf(first.job),
    ...(settings.captureContent && {
      [attributes.inputMessages]: capturedMessages('user', tokenizer.decode(first.job.prompt)),
    }),
  });
}

/** Says which generation a request's span is about that was there before it, with a link to the request that asked for it first. */
export function nameReturn({ job, traces }: Pick<LogState, 'job' | 'traces'>): void {
  const span = requestSpan();
  if (!span || !job) return;
  span.setAttributes(namesOf(job));
  span.addLinks(linksTo(traces.request, { [attributes.link]: 'first_request' }));
}

function namesOf({ model, id, endpoint, tenant }: GenerationJob): Attributes {
  return {
    [attributes.operationName]: endpoint === 'completions' ? 'text_completion' : 'chat',
    [attributes.providerName]: 'baton',
    [attributes.requestModel]: model,
    [attributes.responseModel]: model,
    [attributes.responseId]: id,
    [attributes.tenant]: tenant,
  };
}

/** In the shape of the conventions; a prompt is one message, as the model reads it. */
export function capturedMessages(role: 'user' | 'assistant', content: string): string {
  return JSON.stringify([{ role, parts: [{ type: 'text', content }] }]);
}

/** The job is committed: where NATS is away for a moment, the worker appends entry 0 instead. */
async function appendQueued({ log, logger }: Gateway, job: GenerationJob): Promise<void> {
  try {
    await log.appendQueued(job);
  } catch (error) {
    if (!(error instanceof DependencyError)) throw error;
    logger.warn({ err: error, generation: job.id }, 'entry 0 is left to the worker');
  }
}

/** Nobody will read this generation: its request failed while it was being handed over. */
async function withdraw({ log, queue }: Gateway, job: GenerationJob): Promise<void> {
  await queue.remove(job);
  await log.requestCancel(job.id);
}
