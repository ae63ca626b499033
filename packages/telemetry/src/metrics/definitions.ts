/**
 * Every metric that Baton records. The names of `gen_ai.*`, and their buckets, are OpenTelemetry's semantic conventions,
 * which are still in development: when they change, they change here. Units are UCUM codes: `s`, `By`, `1`, `{thing}`.
 */
interface Definition {
  readonly kind: 'histogram' | 'counter' | 'gauge';
  readonly name: string;
  readonly unit: string;
  readonly description: string;
  /** Upper bounds of a histogram's buckets. */
  readonly buckets?: readonly number[];
}

const milliseconds = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];

export const metricDefinitions = {
  requestDuration: {
    kind: 'histogram',
    name: 'gen_ai.server.request.duration',
    unit: 's',
    description: 'From a request to the last token of its generation, at the gateway',
    buckets: [0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92],
  },
  timeToFirstToken: {
    kind: 'histogram',
    name: 'gen_ai.server.time_to_first_token',
    unit: 's',
    description: 'From a request to the first token of its generation, at the gateway',
    buckets: [0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10],
  },
  timePerOutputToken: {
    kind: 'histogram',
    name: 'gen_ai.server.time_per_output_token',
    unit: 's',
    description: 'Mean time between the tokens of a generation after the first, at the gateway',
    buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5],
  },

  rejections: {
    kind: 'counter',
    name: 'baton.rejections',
    unit: '{request}',
    description: 'Requests that the gateway answered with an error, by its code',
  },
  webSockets: {
    kind: 'gauge',
    name: 'baton.websockets',
    unit: '{connection}',
    description: 'Open WebSockets',
  },
  deliveryBacklog: {
    kind: 'gauge',
    name: 'baton.delivery.backlog',
    unit: 'By',
    description: 'Bytes that wait in the sockets of slow WebSocket clients',
  },
  resumes: {
    kind: 'counter',
    name: 'baton.resumes',
    unit: '{stream}',
    description: 'Streams that clients came back to',
  },

  queueDepth: {
    kind: 'gauge',
    name: 'baton.queue.depth',
    unit: '{generation}',
    description: 'Generations in the queue, by state',
  },
  queueWait: {
    kind: 'histogram',
    name: 'baton.queue.wait.duration',
    unit: 's',
    description: 'From adding a job to the first worker that takes it',
    buckets: [...milliseconds, 25, 50, 100],
  },
  fleetWorkers: {
    kind: 'gauge',
    name: 'baton.fleet.workers',
    unit: '{worker}',
    description: 'Workers that the gateway hears of, by state; silent ones are lost',
  },

  slots: {
    kind: 'gauge',
    name: 'baton.worker.slots',
    unit: '{slot}',
    description: 'Generations that a worker can run at once, used and free',
  },
  batchSize: {
    kind: 'histogram',
    name: 'baton.engine.batch.size',
    unit: '{sequence}',
    description: 'Sequences that share a decode step',
    buckets: [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64],
  },
  stepDuration: {
    kind: 'histogram',
    name: 'baton.engine.step.duration',
    unit: 's',
    description: 'What the model takes for one step, by phase',
    buckets: milliseconds,
  },
  engineTokens: {
    kind: 'counter',
    name: 'baton.engine.tokens',
    unit: '{token}',
    description: 'Tokens that the model was fed (in) and that were sampled (out)',
  },
  stateMemory: {
    kind: 'gauge',
    name: 'baton.state.memory',
    unit: 'By',
    description: 'Memory of session states: of running generations, and warm ones of ended turns',
  },

  generations: {
    kind: 'counter',
    name: 'baton.generations',
    unit: '{generation}',
    description: 'Generations that ended, by how',
  },
  tenantTokens: {
    kind: 'counter',
    name: 'baton.tenant.tokens',
    unit: '{token}',
    description: 'Prompt, cached and output tokens of ended generations, by tenant',
  },
  takeovers: {
    kind: 'counter',
    name: 'baton.takeovers',
    unit: '{generation}',
    description:
      'Generations that another worker went on with: its owner was lost (failover) or handed over (migration)',
  },
  replayedTokens: {
    kind: 'counter',
    name: 'baton.replayed_tokens',
    unit: '{token}',
    description: 'Output tokens of an earlier owner that were computed again',
  },
  restores: {
    kind: 'counter',
    name: 'baton.restores',
    unit: '{restore}',
    description: 'States that generations began with, by where they came from and whose they were',
  },
  restoreDuration: {
    kind: 'histogram',
    name: 'baton.restore.duration',
    unit: 's',
    description: 'Bringing a session state into a slot',
    buckets: milliseconds,
  },
  restoreRefusals: {
    kind: 'counter',
    name: 'baton.restore.refusals',
    unit: '{restore}',
    description: 'Snapshots that were not gone on from, by why not',
  },

  snapshots: {
    kind: 'counter',
    name: 'baton.snapshots',
    unit: '{snapshot}',
    description: 'Snapshots taken, by outcome: saved, or why not',
  },
  snapshotDuration: {
    kind: 'histogram',
    name: 'baton.snapshot.duration',
    unit: 's',
    description: 'Encoding and storing one snapshot',
    buckets: milliseconds,
  },
  snapshotBytes: {
    kind: 'counter',
    name: 'baton.snapshot.size',
    unit: 'By',
    description:
      'Bytes of saved states: as float32 (raw), as encoded (stored), and of pages that were new to the store (new)',
  },

  logAppend: {
    kind: 'histogram',
    name: 'baton.log.append.duration',
    unit: 's',
    description: 'From sending an entry of a token log to its acknowledgement',
    buckets: milliseconds,
  },
  fencedAppends: {
    kind: 'counter',
    name: 'baton.log.fenced_appends',
    unit: '{append}',
    description: 'Appends that the log refused since another worker had claimed the generation',
  },
  feedOverflows: {
    kind: 'counter',
    name: 'baton.log.feed_overflows',
    unit: '{feed}',
    description: 'Live feeds that were stopped because their reader was slow',
  },
} as const satisfies Readonly<Record<string, Definition>>;

export type MetricDefinitions = typeof metricDefinitions;
/** The metrics of one kind. */
export type MetricOf<K extends Definition['kind']> = {
  [M in keyof MetricDefinitions]: MetricDefinitions[M]['kind'] extends K ? M : never;
}[keyof MetricDefinitions];
