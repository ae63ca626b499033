import type { FleetWatch } from '@baton/fleet';
import type { TokenLog } from '@baton/log';
import type { GenerationQueue } from '@baton/queue';
import type { SnapshotStore } from '@baton/snapshot';
import type { FastifyBaseLogger } from 'fastify';
import type { RunningTasks } from './running-tasks.ts';
import type { ServedModel } from './served-model.ts';

export interface GatewaySettings {
  /** Generations that may wait in the queue before new ones are refused. */
  readonly queueLimit: number;
  /** Largest request body and WebSocket message, in bytes. */
  readonly bodyLimit: number;
  /** Whether operators' routes are there for whoever reaches this gateway. */
  readonly admin: boolean;
  /** A followed generation whose log stands still for this long is looked up in the queue. */
  readonly stalledAfterMs: number;
  /** How often each generation that has not ended is looked up in the queue, whether somebody follows it or not. */
  readonly sweepEveryMs: number;
  /** How often an idle connection hears from the gateway. */
  readonly keepAliveMs: number;
}

export const defaultGatewaySettings: GatewaySettings = {
  queueLimit: 1000,
  admin: false,
  bodyLimit: 4 * 1024 * 1024,
  stalledAfterMs: 3000,
  sweepEveryMs: 10_000,
  keepAliveMs: 15_000,
};

/** Everything that a request needs of the gateway it came to. */
export interface Gateway {
  readonly model: ServedModel;
  readonly log: TokenLog;
  readonly queue: GenerationQueue;
  readonly fleet: FleetWatch;
  /** Where the workers keep states; null where nobody keeps any. */
  readonly snapshots: SnapshotStore | null;
  readonly settings: GatewaySettings;
  readonly logger: FastifyBaseLogger;
  readonly tasks: RunningTasks;
  /** Aborted when the gateway stops waiting for its connections. */
  readonly stopping: AbortSignal;
}
