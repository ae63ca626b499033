import { tagOfId } from './ids.ts';

/**
 * Every NATS subject, JetStream stream, BullMQ queue and Redis key prefix is spelled here and nowhere else.
 *
 * A generation's log lives on one subject, `baton.log.<shard>.<tag>.<id>`, where the tag is its tenant's. JetStream
 * republishes what it has stored to `baton.live.<shard>.<tag>.<id>`; clients of the log listen there, never on the raw
 * subject, where a rejected append would be visible too.
 */
export const queueName = 'generations';
export const redisPrefix = 'baton';

/** FNV-1a: spreads ids over shards the same way in every process and version. */
export function shardOf(generationId: string, shards: number): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < generationId.length; i++) {
    hash = Math.imul(hash ^ generationId.charCodeAt(i), 0x01000193);
  }
  return (hash >>> 0) % shards;
}

export const logStream = (shard: number): string => `BATON_LOG_${shard}`;
export const logStreamSubjects = (shard: number): string => `baton.log.${shard}.>`;
export const liveStreamSubjects = (shard: number): string => `baton.live.${shard}.>`;
/** What JetStream republishes of every generation. */
export const allLiveSubjects = 'baton.live.>';
export const logSubject = (shard: number, generationId: string): string =>
  `baton.log.${shard}.${tagged(generationId)}`;
export const liveSubject = (shard: number, generationId: string): string =>
  `baton.live.${shard}.${tagged(generationId)}`;
const tagged = (generationId: string): string => `${tagOfId(generationId)}.${generationId}`;

/** Generations that have not ended, as far as is known. */
export const logOpenStream = 'BATON_OPEN';
export const logOpenSubjects = 'baton.open.>';
export const logOpenSubject = (generationId: string): string => `baton.open.${tagged(generationId)}`;

/** Redis keys of snapshots. A tenant's keys share a hash slot, so that one script may touch them all. */
export const snapshotKeys = (tenant: string) => ({
  page: (key: string) => `${redisPrefix}:snapshot:{${tenant}}:page:${key}`,
  session: (session: string) => `${redisPrefix}:snapshot:{${tenant}}:session:${session}`,
  /** How many sessions name each page. */
  references: `${redisPrefix}:snapshot:{${tenant}}:references`,
  /** Sessions by when they were stored last. */
  sessions: `${redisPrefix}:snapshot:{${tenant}}:sessions`,
  /** Bytes of all sessions. */
  bytes: `${redisPrefix}:snapshot:{${tenant}}:bytes`,
});
/** Tenants with snapshots, by their bytes. */
export const snapshotTenants = `${redisPrefix}:snapshot-tenants`;
/** The same ones by when the oldest of their sessions was stored. */
export const snapshotOldest = `${redisPrefix}:snapshot-oldest`;

/** A Redis hash: the latest turn that was taken, and each tenant's last. */
export const fairOrderKey = `${redisPrefix}:${queueName}:fair-order`;
/** A Redis set of a tenant's generations that wait or run. */
export const tenantGenerationsKey = (tenant: string): string => `${redisPrefix}:${queueName}:of:${tenant}`;
/** A Redis list of how long the latest generations took their workers, in ms. */
export const serviceTimesKey = `${redisPrefix}:${queueName}:service-times`;
/** What a tenant has used in the present minute. */
export const rateLimitPrefix = `${redisPrefix}:rate`;

/** A Redis hash of all API keys, by their id. */
export const apiKeysKey = `${redisPrefix}:api-keys`;
/** Redis keys of what gateways remember of a tenant's requests, for as long as their logs. */
export const conversationKey = (tenant: string, id: string): string =>
  `${redisPrefix}:conversation:{${tenant}}:${id}`;
/** What a tenant's conversations take. Its keys share a hash slot, as above. */
export const conversationAccountKeys = (tenant: string) => ({
  sizes: `${redisPrefix}:conversations:{${tenant}}:sizes`,
  expiries: `${redisPrefix}:conversations:{${tenant}}:expiries`,
});
export const idempotencyKey = (tenant: string, hash: string): string =>
  `${redisPrefix}:idempotency:{${tenant}}:${hash}`;

/** Where whoever follows a generation for a client answers that it does. */
export const followersSubject = (generationId: string): string => `baton.followers.${tagged(generationId)}`;

/** Where workers tell how they are. */
export const heartbeatSubject = 'baton.fleet.heartbeat';
/** Where one worker is told what to do; a worker's name may hold characters that a subject may not. */
export const commandSubject = (worker: string): string =>
  `baton.fleet.command.${Buffer.from(worker).toString('base64url')}`;

/** Whom a claim names that a gateway makes, only to end the generation: it is no worker. */
export const gatewayOwner = 'gateway';
