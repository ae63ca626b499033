import type { FleetWatch } from '@baton/fleet';
import type { TokenLog } from '@baton/log';
import type { GenerationQueue } from '@baton/queue';
import type { SnapshotStore } from '@baton/snapshot';
import type { FastifyBaseLogger } from 'fastify';
import type { GrammarChecks } from './api/grammar-checks.ts';
import type { Documents } from './documents.ts';
import type { Tokenisation } from './generation/tokenisation.ts';
import type { RateLimits } from './limits/rate-limits.ts';
import type { StreamPlaces } from './limits/stream-places.ts';
import type { RunningTasks } from './running-tasks.ts';
import type { ServedModel } from './served-model.ts';

export interface GatewaySettings {
  /** Generations that may wait in the queue before new ones are refused. */
  readonly queueLimit: number;
  /** Largest request body and WebSocket message, in bytes. */
  readonly bodyLimit: number;
  /** Generations of one tenant that may wait and run at once. */
  readonly tenantGenerations: number;
  /** What the conversations of one tenant may take together. */
  readonly conversationQuotaBytes: number;
  /** How long a generation may wait for a worker whose client waits for it. */
  readonly queueTimeoutMs: number;
  /** Origins (`https://chat.example.com`) whose pages may use this gateway. */
  readonly allowedOrigins: readonly string[];
  /** Addresses and networks of proxies that are believed in whom they forward for. */
  readonly trustedProxies: readonly string[];
  /** How long a request may take to arrive. */
  readonly requestTimeoutMs: number;
  /** A followed generation whose log stands still for this long is looked up in the queue. */
  readonly stalledAfterMs: number;
  /** How often each generation that has not ended is looked up in the queue, whether somebody follows it or not. */
  readonly sweepEveryMs: number;
  /** Whether traces hold what clients ask and models say. */
  readonly captureContent: boolean;
  /** WebSockets and event streams at once. */
  readonly socketLimit: number;
  /** Those of one tenant. */
  readonly tenantStreams: number;
  /** How long a client that went away has to come back, before what nobody could read again is cancelled. */
  readonly disconnectGraceMs: number;
  /** How often an idle connection hears from the gateway. */
  readonly keepAliveMs: number;
}

export const defaultGatewaySettings: GatewaySettings = {
  queueLimit: 1000,
  tenantGenerations: 500,
  conversationQuotaBytes: 256 * 2 ** 20,
  queueTimeoutMs: 60_000,
  allowedOrigins: [],
  trustedProxies: [],
  requestTimeoutMs: 60_000,
  bodyLimit: 4 * 1024 * 1024,
  stalledAfterMs: 3000,
  sweepEveryMs: 10_000,
  captureContent: false,
  socketLimit: 10_000,
  tenantStreams: 1000,
  disconnectGraceMs: 5000,
  keepAliveMs: 15_000,
};

/** Everything that a request needs of the gateway it came to. */
export interface Gateway {
  readonly model: ServedModel;
  readonly grammars: GrammarChecks;
  readonly tokenisation: Tokenisation;
  readonly log: TokenLog;
  readonly queue: GenerationQueue;
  /** What gateways remember beside the logs. */
  readonly documents: Documents;
  readonly fleet: FleetWatch;
  /** Null where a tenant may ask as often as it likes. */
  readonly rateLimits: RateLimits | null;
  /** Where the workers keep states; null where nobody keeps any. */
  readonly snapshots: SnapshotStore | null;
  readonly streams: StreamPlaces;
  readonly settings: GatewaySettings;
  readonly logger: FastifyBaseLogger;
  readonly tasks: RunningTasks;
  /** Aborted when the gateway stops waiting for its connections. */
  readonly stopping: AbortSignal;
}

/** The gateway as the tenant sees it whose request it is: what belongs to others is not there. */
export interface TenantGateway extends Gateway {
  readonly tenant: string;
  /** Tells the client something in a header of the answer to come; a WebSocket has none. */
  readonly setHeader: (name: string, value: string | number) => void;
}
