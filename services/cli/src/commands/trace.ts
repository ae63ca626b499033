import { loadEnv } from '@baton/environment';
import { BatonError, ConfigurationError } from '@baton/errors';
import { TokenLog } from '@baton/log';
import { generationId } from '@baton/protocol';
import { SnapshotRefusal } from '@baton/snapshot';
import { Command } from 'commander';
import { runningServers } from '../running-servers.ts';
import { readStoredSnapshot, snapshotVariables } from '../stored-snapshots.ts';
import { renderTimeline } from '../trace/render-timeline.ts';
import { timelineOf } from '../trace/timeline.ts';

/** `baton trace <generation>` */
export function traceCommand(): Command {
  return new Command('trace')
    .description('print the timeline of one generation, from its log and its snapshot')
    .argument('<generation>', 'id of a response or completion')
    .action(trace);
}

async function trace(id: string): Promise<void> {
  if (!generationId.safeParse(id).success) {
    throw new ConfigurationError(
      `${id} is not the id of a generation; those are resp_, chatcmpl_ or cmpl_ and 32 hexadecimal digits`,
    );
  }
  const { natsUrl, redisUrl } = runningServers(process.env);
  const env = loadEnv(process.env, ['BATON_LOG_SHARDS', 'BATON_SNAPSHOT_STORE', ...snapshotVariables]);
  const log = await TokenLog.open(natsUrl, { shards: env.BATON_LOG_SHARDS }, { readOnly: true });
  try {
    const history = [];
    for await (const stored of log.history(id)) history.push(stored);
    const timeline = timelineOf(history);
    if (timeline === null) throw new ConfigurationError(`there is no generation ${id}, or no longer`);
    const { tenant } = timeline.job;
    const store = env.BATON_SNAPSHOT_STORE ?? redisUrl;
    // The log alone tells what happened, also while the store is away.
    const snapshot = await readStoredSnapshot(store, env, { tenant, session: id }).catch((error: unknown) => {
      if (error instanceof BatonError || error instanceof SnapshotRefusal) return { unread: error.message };
      throw error;
    });
    const { traces } = (await log.read(id)) ?? {};
    process.stdout.write(`${renderTimeline(timeline, snapshot, traces?.request ?? null)}\n`);
  } finally {
    await log.close();
  }
}
