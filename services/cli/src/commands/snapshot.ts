import { checkOption, loadEnv } from '@baton/environment';
import { ConfigurationError } from '@baton/errors';
import { type PageEntry, SnapshotRefusal } from '@baton/snapshot';
import { Command } from 'commander';
import { runningServers } from '../running-servers.ts';
import { readStoredSnapshot, type StoredSnapshot, snapshotVariables } from '../stored-snapshots.ts';

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

async function inspect(session: string, { tenant, store }: Options): Promise<void> {
  const env = loadEnv(process.env, ['BATON_SNAPSHOT_STORE', ...snapshotVariables, 'BATON_REDIS_URL']);
  if (store !== undefined) checkOption('--store', store, 'BATON_SNAPSHOT_STORE');
  const url =
    store ?? env.BATON_SNAPSHOT_STORE ?? env.BATON_REDIS_URL ?? runningServers(process.env).redisUrl;
  const snapshot = await readStoredSnapshot(url, env, { tenant, session }).catch((error: unknown) => {
    if (error instanceof SnapshotRefusal) throw new ConfigurationError(`${error.reason}: ${error.message}`);
    throw error;
  });
  if (!snapshot) throw new ConfigurationError(`tenant ${tenant} has no snapshot of ${session}`);
  const { tokens, fingerprint, tokenizer, pages, missing, isEncrypted } = snapshot;
  const form = `${tokenizer ? `, tokenizer ${tokenizer.slice(0, 12)}…` : ''}${isEncrypted ? ', encrypted' : ''}`;
  const lines = [
    `${session} of ${tenant}: ${tokens} tokens, ${pages.length} pages, model ${fingerprint.slice(0, 12)}…${form}`,
    '',
    'part       group  tier     pages   tokens   bytes stored   as float32  bits a value',
    ...partsOf(snapshot).map(lineOf),
  ];
  if (missing > 0) lines.push('', `${missing} of its pages are gone: it cannot be gone on from`);
  process.stdout.write(`${lines.join('\n')}\n`);
}

/** A line of the table; null for what is not there to tell. */
interface Part {
  readonly name: string;
  readonly group: number | null;
  readonly tier: string;
  readonly pages: readonly PageEntry[];
  readonly bytes: number;
}

/** Pages of one kind together, what names them, and all that at last. */
function partsOf({ pages, manifestBytes, storedBytes }: StoredSnapshot): Part[] {
  const kinds = Map.groupBy(pages, ({ part, group, tier }) => `${part} ${group} ${tier}`);
  const parts = Array.from(kinds.values(), (some): Part => {
    const { part, group, tier } = some[0] as PageEntry;
    const bytes = some.reduce((sum, page) => sum + page.bytes, 0);
    return { name: part, group: part === 'kv' ? group : null, tier, pages: some, bytes };
  });
  const rest = { group: null, tier: '' };
  return [
    ...parts,
    { ...rest, name: 'manifest', pages: [], bytes: manifestBytes },
    { ...rest, name: 'all', pages, bytes: storedBytes },
  ];
}

function lineOf({ name, group, tier, pages, bytes }: Part): string {
  const raw = pages.reduce((sum, { rawBytes }) => sum + rawBytes, 0);
  const rows = pages.filter(({ count }) => count > 0);
  const range =
    rows.length === 0 || name === 'all'
      ? ''
      : `${Math.min(...rows.map(({ first }) => first))}–${Math.max(...rows.map(({ first, count }) => first + count)) - 1}`;
  return [
    name.padEnd(10),
    String(group ?? '').padEnd(6),
    tier.padEnd(8),
    String(pages.length || '').padStart(5),
    range.padStart(9),
    bytes.toLocaleString('en').padStart(14),
    (raw > 0 ? raw.toLocaleString('en') : '').padStart(12),
    (raw > 0 ? ((32 * bytes) / raw).toFixed(2) : '').padStart(13),
  ]
    .join(' ')
    .trimEnd();
}
