import { ConfigurationError } from '@baton/errors';
import { liveStreamSubjects, logStream, logStreamSubjects } from '@baton/protocol';
import {
  DiscardPolicy,
  JetStreamApiCodes,
  JetStreamApiError,
  type JetStreamManager,
  RetentionPolicy,
  StorageType,
  type StreamConfig,
  type StreamInfo,
} from '@nats-io/jetstream';
import type { TokenLogSettings } from './settings.ts';

/**
 * Makes the streams of the token log, or brings existing ones up to `settings`. Throws `ConfigurationError` where the
 * server refuses, and where the streams were made for another number of shards: ids would be looked for in the wrong one.
 */
export async function ensureStreams(manager: JetStreamManager, settings: TokenLogSettings): Promise<void> {
  const { shards } = settings;
  if ((await find(manager, logStream(shards))) !== null) {
    throw new ConfigurationError(
      `the token log has more than ${shards} shards: ${logStream(shards)} exists; set BATON_LOG_SHARDS to their number`,
    );
  }
  // Made from the last to the first: once the first exists all do, and one that is missing tells of another setting.
  const made = (await find(manager, logStream(0))) !== null;
  for (let shard = shards - 1; shard >= 0; shard--) {
    const wanted = streamConfig(shard, settings);
    const found = await find(manager, wanted.name);
    if (found !== null) {
      await bringUp(manager, found, wanted);
    } else if (made) {
      throw new ConfigurationError(
        `the token log has fewer than ${shards} shards: ${wanted.name} is missing; set BATON_LOG_SHARDS to their number`,
      );
    } else {
      await orRefuse(`create stream ${wanted.name}`, settings, manager.streams.add(wanted));
    }
  }
}

type LogStreamConfig = Partial<StreamConfig> & Pick<StreamConfig, 'name' | 'num_replicas'>;

function streamConfig(shard: number, { replicas, maxAgeMs }: TokenLogSettings): LogStreamConfig {
  return {
    name: logStream(shard),
    subjects: [logStreamSubjects(shard)],
    // Clients follow what was stored, never the raw subject, where a rejected append is visible too.
    republish: { src: logStreamSubjects(shard), dest: liveStreamSubjects(shard) },
    retention: RetentionPolicy.Limits,
    storage: StorageType.File,
    num_replicas: replicas,
    max_age: nanoseconds(maxAgeMs),
    // Not used: fencing tells a repeated append. It may not exceed the age, and its default would.
    duplicate_window: nanoseconds(Math.min(maxAgeMs, 120_000)),
    allow_direct: true,
    // A limit set from outside refuses new entries; it never takes stored ones away.
    discard: DiscardPolicy.New,
    deny_delete: true,
    // A generation is forgotten as a whole, on request; a stream from before that was possible stays as it is.
    deny_purge: false,
  };
}

const nanoseconds = (milliseconds: number) => milliseconds * 1_000_000;

async function find(manager: JetStreamManager, name: string): Promise<StreamInfo | null> {
  try {
    return await manager.streams.info(name);
  } catch (error) {
    if (error instanceof JetStreamApiError && error.code === JetStreamApiCodes.StreamNotFound) return null;
    throw error;
  }
}

async function bringUp(manager: JetStreamManager, found: StreamInfo, wanted: LogStreamConfig): Promise<void> {
  const differs = Object.entries(wanted).filter(
    ([key, value]) =>
      key !== 'deny_purge' &&
      JSON.stringify(found.config[key as keyof StreamConfig]) !== JSON.stringify(value),
  );
  if (differs.length === 0) return;
  if (wanted.num_replicas > 1 && found.cluster === undefined) {
    // A single server takes the change in silence and goes on keeping one copy.
    throw new ConfigurationError(
      `NATS cannot keep ${wanted.num_replicas} replicas of ${wanted.name}: it is a single server, not a cluster`,
    );
  }
  const keys = differs.map(([key]) => key).join(', ');
  const update = manager.streams.update(wanted.name, Object.fromEntries(differs));
  await orRefuse(`change ${keys} of the existing stream ${wanted.name}`, {}, update);
}

/** What the server will not do with a stream is a wrong setting, unless it only cannot do it now. */
async function orRefuse(action: string, settings: Partial<TokenLogSettings>, request: Promise<unknown>) {
  try {
    await request;
  } catch (error) {
    if (!(error instanceof JetStreamApiError) || error.status === 503) throw error;
    const replicas = settings.replicas === undefined ? '' : ` with ${settings.replicas} replicas`;
    throw new ConfigurationError(`NATS cannot ${action}${replicas}: ${error.message}`, { cause: error });
  }
}
