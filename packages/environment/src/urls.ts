/** What is wrong with a value, and what would be right; null where nothing is. */
export type Check = (value: string) => string | null;

export const urlOf =
  (...protocols: readonly string[]): Check =>
  (value) =>
    URL.canParse(value) && protocols.includes(new URL(value).protocol)
      ? null
      : `must be a URL that starts with ${protocols.map((protocol) => `${protocol}//`).join(' or ')}`;

const isRedis = urlOf('redis:', 'rediss:');

export function redisUrl(value: string): string | null {
  const problem = isRedis(value);
  if (problem !== null) return problem;
  const { pathname, searchParams } = new URL(value);
  return /^(\/\d*)?$/.test(pathname) && /^\d*$/.test(searchParams.get('db') ?? '')
    ? null
    : 'must end in the number of a database if in anything: redis://host:6379/0';
}

const isStore = urlOf('redis:', 'rediss:', 's3:', 'file:');

export function snapshotStoreUrl(value: string): string | null {
  return isStore(value) ?? (isRedis(value) === null ? redisUrl(value) : null);
}
