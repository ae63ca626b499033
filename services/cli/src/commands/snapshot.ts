import { loadEnv } from '@baton/environment';
import { ConfigurationError } from '@baton/errors';
import { decodeManifest, type PageEntry, SnapshotRefusal } from '@baton/snapshot';
import { Command } from 'commander';
import { formatBytes } from '../format-bytes.ts';
import { runningServers } from '../running-servers.ts';
import { openStoredSnapshots, snapshotVariables } from '../stored-snapshots.ts';

/** `baton snapshot inspect <session>` */
export function snapshotCommand(): Command {
  return new Command('snapshot')
    .description('look at what is kept of sessions')
    .addCommand(
      new Command('inspect')
        .description('show what the snapshot of a session holds, part by part')
        .argument('<session>', 'id of a response')
        .option('--tenant <tenant>', 'whose it is', 'default')
        .option(
          '--store <url>',
          'where it is kept; by default as workers find it: BATON_SNAPSHOT_STORE, else Redis',
        )
        .action(inspect),
    );
}

interface Options {
  readonly tenant: string;
  readonly store?: string;
}

async function inspect(session: string, { tenant, store: given }: Options): Promise<void> {
  const env = loadEnv(process.env, ['BATON_SNAPSHOT_STORE', ...snapshotVariables, 'BATON_REDIS_URL']);
  const url =
    given ?? env.BATON_SNAPSHOT_STORE ?? env.BATON_REDIS_URL ?? runningServers(process.env).redisUrl;
  const store = await openStoredSnapshots(url, env);
  try {
    const stored = await store.getManifest(tenant, session);
    if (!stored) throw new ConfigurationError(`tenant ${tenant} has no snapshot of ${session}`);
    const { tokens, fingerprint, pages } = decodeManifest(stored.bytes, { tenant, session });
    const lines = [
      `${session} of ${tenant}: ${tokens} tokens, ${pages.length} pages, model ${fingerprint.slice(0, 12)}…`,
      '',
      'part       group  tier     pages   tokens         stored   as float32  bits a value',
      ...partsOf(pages).map(lineOf),
    ];
    const missing = await store.missing(
      tenant,
      pages.map(({ key }) => key),
      { refresh: false },
    );
    if (missing.size > 0) lines.push('', `${missing.size} of its pages are gone: it cannot be gone on from`);
    process.stdout.write(`${lines.join('\n')}\n`);
  } catch (error) {
    if (error instanceof SnapshotRefusal) throw new ConfigurationError(`${error.reason}: ${error.message}`);
    throw error;
  } finally {
    await store.close();
  }
}

interface Part {
  readonly name: string;
  readonly group: number;
  readonly tier: string;
  readonly pages: readonly PageEntry[];
}

/** Pages of one kind together, and all of them at last. */
function partsOf(pages: readonly PageEntry[]): Part[] {
  const kinds = Map.groupBy(pages, ({ part, group, tier }) => `${part} ${group} ${tier}`);
  const parts = Array.from(kinds.values(), (some): Part => {
    const { part, group, tier } = some[0] as PageEntry;
    return { name: part, group, tier, pages: some };
  });
  return [...parts, { name: 'all', group: 0, tier: '', pages }];
}

function lineOf({ name, group, tier, pages }: Part): string {
  const stored = pages.reduce((sum, { bytes }) => sum + bytes, 0);
  const raw = pages.reduce((sum, { rawBytes }) => sum + rawBytes, 0);
  const rows = pages.filter(({ count }) => count > 0);
  const range =
    rows.length === 0 || name === 'all'
      ? ''
      : `${Math.min(...rows.map(({ first }) => first))}–${Math.max(...rows.map(({ first, count }) => first + count)) - 1}`;
  return [
    name.padEnd(10),
    (name === 'kv' ? String(group) : '').padEnd(6),
    tier.padEnd(8),
    String(pages.length).padStart(5),
    range.padStart(9),
    formatBytes(stored).padStart(14),
    formatBytes(raw).padStart(12),
    ((32 * stored) / raw).toFixed(2).padStart(13),
  ].join(' ');
}
