import { loadEnv } from '@baton/environment';
import { BatonError, ConfigurationError } from '@baton/errors';
import { TokenLog } from '@baton/log';
import { generationId } from '@baton/protocol';
import { decodeManifest, SnapshotRefusal, type SnapshotStore } from '@baton/snapshot';
import { Command } from 'commander';
import { formatBytes } from '../format-bytes.ts';
import { runningServers } from '../running-servers.ts';
import { openStoredSnapshots, snapshotVariables } from '../stored-snapshots.ts';
import { renderTimeline, type StoredSnapshot } from '../trace/render-timeline.ts';
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
    const open = () => openStoredSnapshots(env.BATON_SNAPSHOT_STORE ?? redisUrl, env);
    // The log alone tells what happened, also while the store is away.
    const snapshot = await findSnapshot(open, tenant, id).catch((error: unknown) => {
      if (error instanceof BatonError || error instanceof SnapshotRefusal) return { unread: error.message };
      throw error;
    });
    const { traces } = (await log.read(id)) ?? {};
    process.stdout.write(`${renderTimeline(timeline, snapshot, traces?.request ?? null)}\n`);
  } finally {
    await log.close();
  }
}

async function findSnapshot(
  open: () => Promise<SnapshotStore>,
  tenant: string,
  session: string,
): Promise<StoredSnapshot | null> {
  const store = await open();
  try {
    const stored = await store.getManifest(tenant, session);
    if (!stored) return null;
    const { tokens, pages } = decodeManifest(stored.bytes, { tenant, session });
    const bytes = stored.bytes.length + pages.reduce((sum, page) => sum + page.bytes, 0);
    const missing = (
      await store.missing(
        tenant,
        pages.map(({ key }) => key),
        { refresh: false },
      )
    ).size;
    return { tokens, pages: pages.length, missing, bytes: formatBytes(bytes) };
  } finally {
    await store.close();
  }
}
