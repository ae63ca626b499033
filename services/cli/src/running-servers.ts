import { readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { loadEnv } from '@baton/environment';
import { ConfigurationError } from '@baton/errors';
import { z } from 'zod';

const schema = z.strictObject({ redisUrl: z.string(), natsUrl: z.string() });
export type Servers = z.infer<typeof schema>;

const fileOf = (dataDir: string) => join(dataDir, 'servers.json');

/** Notes where the servers of `npm start` are, for commands that look at the running system. URLs may hold passwords. */
export function rememberServers(dataDir: string, servers: Servers): void {
  writeFileSync(fileOf(dataDir), `${JSON.stringify(servers)}\n`, { mode: 0o600 });
}

/**
 * The servers to look at: those of the settings, else those of the last `npm start` on this data folder. Throws
 * `ConfigurationError` where neither names any.
 */
export function runningServers(source: NodeJS.ProcessEnv): Servers {
  const env = loadEnv(source, ['BATON_REDIS_URL', 'BATON_NATS_URL', 'BATON_DATA_DIR']);
  const started = readRemembered(fileOf(resolve(env.BATON_DATA_DIR)));
  const redisUrl = env.BATON_REDIS_URL ?? started?.redisUrl;
  const natsUrl = env.BATON_NATS_URL ?? started?.natsUrl;
  if (redisUrl !== undefined && natsUrl !== undefined) return { redisUrl, natsUrl };
  throw new ConfigurationError(
    'which system? Set BATON_REDIS_URL and BATON_NATS_URL, or run this where `npm start` runs',
  );
}

function readRemembered(file: string): Servers | undefined {
  try {
    return schema.parse(JSON.parse(readFileSync(file, 'utf8')));
  } catch {
    // Nothing was started here, or not by this version.
    return undefined;
  }
}
