import { setTimeout as delay } from 'node:timers/promises';
import { type BatonError, errorCodes } from '@baton/errors';
import type { FleetWatch } from '@baton/fleet';
import type { GenerationJob, LogEntry } from '@baton/protocol';
import type { GenerationQueue } from '@baton/queue';
import { attributes, count, measure, observe } from '@baton/telemetry';

/** How long one generation takes, as its client sees it: from the request on, with the wait and any failover. */
export class GenerationTimes {
  readonly #job: GenerationJob;
  #first: { readonly at: number; readonly tokens: number } | null = null;
  #tokens = 0;

  constructor(job: GenerationJob) {
    this.#job = job;
  }

  /** Takes the next entry of the generation's log as it goes to the client. */
  take(entry: LogEntry): void {
    if (entry.kind === 'tokens') this.#tokens += entry.tokens.length;
    const isFirst = this.#first === null && this.#tokens > 0;
    const isLast = entry.kind === 'finish' || entry.kind === 'error';
    if (!isFirst && !isLast) return;
    const { created_at, model, endpoint } = this.#job;
    const labels = {
      [attributes.operationName]: endpoint === 'completions' ? 'text_completion' : 'chat',
      [attributes.providerName]: 'baton',
      [attributes.requestModel]: model,
    };
    const now = Date.now();
    if (isFirst) {
      this.#first = { at: now, tokens: this.#tokens };
      measure('timeToFirstToken', (now - created_at) / 1000, labels);
    }
    if (!isLast) return;
    const failed = entry.kind === 'error' && { [attributes.errorType]: entry.code };
    measure('requestDuration', (now - created_at) / 1000, { ...labels, ...failed });
    const later = this.#tokens - (this.#first?.tokens ?? 0);
    if (this.#first && later > 0)
      measure('timePerOutputToken', (now - this.#first.at) / 1000 / later, labels);
  }
}

/** A request was answered with `error`. */
export function recordRejection({ code }: BatonError): void {
  count('rejections', 1, { [attributes.errorType]: code });
}

/** This gateway ended a generation that no worker had, or would get; all others are counted by their worker. */
export function recordEnd(outcome: GatewayOutcome): void {
  count('generations', 1, { [attributes.outcome]: outcome });
}

/** How gateways end generations: nobody wants it any more, it waited too long, or the queue had given it up. */
const gatewayOutcomes = ['cancelled', 'queue_timeout', 'server_error'] as const;
type GatewayOutcome = (typeof gatewayOutcomes)[number];

const transports = ['sse', 'websocket'] as const;

/** A client came back to a stream. */
export function recordResume(transport: (typeof transports)[number]): void {
  count('resumes', 1, { [attributes.transport]: transport });
}

/** Redis may take longer to fail than Prometheus waits for a page, which is about everything else as well. */
const depthPatienceMs = 1000;

export interface Observed {
  readonly queue: Pick<GenerationQueue, 'counts'>;
  readonly fleet: Pick<FleetWatch, 'running' | 'workers'>;
  readonly sockets: () => Iterable<{ readonly bufferedAmount: number }>;
}

/** What a gateway sees whenever somebody looks, until the function that this gives is called. */
export function observeGateway({ queue, fleet, sockets }: Observed): () => void {
  // From the beginning: what appears with a first event would hide that event from a rate.
  for (const code of errorCodes) count('rejections', 0, { [attributes.errorType]: code });
  for (const outcome of gatewayOutcomes) count('generations', 0, { [attributes.outcome]: outcome });
  for (const transport of transports) count('resumes', 0, { [attributes.transport]: transport });
  for (const metric of ['fencedAppends', 'feedOverflows'] as const) count(metric, 0);
  const stops = [
    observe('webSockets', (result) => result.observe([...sockets()].length)),
    observe('deliveryBacklog', (result) =>
      result.observe([...sockets()].reduce((sum, { bufferedAmount }) => sum + bufferedAmount, 0)),
    ),
    observe('queueDepth', async (result) => {
      const counts = await Promise.race([
        queue.counts().catch(() => null),
        delay(depthPatienceMs, null, { ref: false }),
      ]);
      for (const [state, generations] of Object.entries(counts ?? {})) {
        result.observe(generations, { [attributes.state]: state });
      }
    }),
    observe('fleetWorkers', (result) => {
      const heard = new Set(fleet.running.map(({ worker }) => worker));
      const states = { starting: 0, running: 0, draining: 0, stopped: 0, silent: 0 };
      for (const { worker, state } of fleet.workers) {
        states[state === 'running' && !heard.has(worker) ? 'silent' : state]++;
      }
      for (const [state, workers] of Object.entries(states)) {
        result.observe(workers, { [attributes.state]: state });
      }
    }),
  ];
  return () => {
    for (const stop of stops) stop();
  };
}
