import { checkOption, loadEnv } from '@baton/environment';
import { ConfigurationError } from '@baton/errors';
import { type ApiKey, ApiKeys, type Scope, scopes } from '@baton/keys';
import { tenantName, tenantTag } from '@baton/protocol';
import { Command, InvalidArgumentError, Option } from 'commander';

/** `baton keys create|list|revoke` */
export function keysCommand(): Command {
  return new Command('keys')
    .description('make and revoke the API keys of clients (the gateways ask for them with BATON_AUTH=keys)')
    .addCommand(
      withRedis(new Command('create'))
        .description('make a key and print it; it cannot be shown again')
        .option('--tenant <tenant>', 'whose it is', parseTenant, 'default')
        .addOption(
          new Option('--scope <scopes...>', 'what it may do')
            .choices(scopes)
            .default(['inference'], 'inference'),
        )
        .option('--name <name>', 'what its owner calls it', '')
        .action(create),
    )
    .addCommand(withRedis(new Command('list')).description('show all keys but their secrets').action(list))
    .addCommand(
      withRedis(new Command('revoke'))
        .description('make a key worthless, at once and everywhere')
        .argument('<id>', 'as `baton keys list` shows it')
        .action(revoke),
    );
}

interface RedisOption {
  readonly redis?: string;
}

function withRedis(command: Command): Command {
  return command.option('--redis <url>', 'where the keys are kept; by default BATON_REDIS_URL');
}

function parseTenant(text: string): string {
  const parsed = tenantName.safeParse(text);
  if (parsed.success) return parsed.data;
  throw new InvalidArgumentError(parsed.error.issues.map(({ message }) => message).join(', '));
}

interface CreateOptions extends RedisOption {
  readonly tenant: string;
  readonly scope: readonly Scope[];
  readonly name: string;
}

async function create({ redis, tenant, scope, name }: CreateOptions): Promise<void> {
  const { id, key } = await withKeys(redis, (keys) =>
    keys.create({ tenant, scopes: [...new Set(scope)], name }),
  );
  process.stderr.write(
    `Key ${id} of tenant ${tenant} may: ${scope.join(', ')}. Keep it; it is not stored and cannot be shown again.\n`,
  );
  // Alone on stdout, so that a script can take it.
  process.stdout.write(`${key}\n`);
}

async function list({ redis }: RedisOption): Promise<void> {
  const all = await withKeys(redis, (keys) => keys.list());
  const lines = all.map(({ id, tenant, scopes, name, createdAt }) =>
    lineOf([id, tenant, tenantTag(tenant), scopes.join(','), new Date(createdAt).toISOString(), name]),
  );
  process.stdout.write(
    `${[lineOf(['id', 'tenant', 'tag', 'scopes', 'created', 'name']), ...lines].join('\n')}\n`,
  );
}

async function revoke(id: ApiKey['id'], { redis }: RedisOption): Promise<void> {
  const revoked = await withKeys(redis, (keys) => keys.revoke(id));
  if (!revoked)
    throw new ConfigurationError(`there is no key ${id}; "baton keys list" shows those there are`);
  process.stdout.write(`Key ${id} is revoked.\n`);
}

async function withKeys<T>(given: string | undefined, use: (keys: ApiKeys) => Promise<T>): Promise<T> {
  if (given !== undefined) checkOption('--redis', given, 'BATON_REDIS_URL');
  const url = given ?? loadEnv(process.env, ['BATON_REDIS_URL']).BATON_REDIS_URL;
  if (url === undefined) {
    throw new ConfigurationError(
      'where are the keys? Give --redis, or set BATON_REDIS_URL; `npm start` says where its own Redis runs',
    );
  }
  const keys = await ApiKeys.open(url);
  try {
    return await use(keys);
  } finally {
    await keys.close();
  }
}

function lineOf([
  id = '',
  tenant = '',
  tag = '',
  scopes = '',
  created = '',
  name = '',
]: readonly string[]): string {
  const columns = [
    id.padEnd(16),
    tenant.padEnd(16),
    tag.padEnd(8),
    scopes.padEnd(16),
    created.padEnd(24),
    name,
  ];
  return columns.join('  ').trimEnd();
}
