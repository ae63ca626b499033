/** What is wrong with a value, and what would be right; null where nothing is. */
export type Check = (value: string) => string | null;

const urlOf =
  (...protocols: readonly string[]): Check =>
  (value) =>
    URL.canParse(value) && protocols.includes(new URL(value).protocol)
      ? null
      : `must be a URL that starts with ${protocols.map((protocol) => `${protocol}//`).join(' or ')}`;

const isNats = urlOf('nats:', 'tls:');

/** One server or several, with commas between: any of them leads to the others. */
export function natsUrls(value: string): string | null {
  return (
    value
      .split(',')
      .map(isNats)
      .find((problem) => problem !== null) ?? null
  );
}

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
  const problem = isStore(value);
  if (problem !== null) return problem;
  const url = new URL(value);
  if (url.protocol === 's3:') return bucketProblem(url);
  return url.protocol === 'file:' ? folderProblem(value) : redisUrl(value);
}

function folderProblem(value: string): string | null {
  const { host, pathname, search, hash } = new URL(value);
  const form = 'a folder is file:///path';
  if (!/^file:\/\//i.test(value)) return `must start with file://: ${form}`;
  if (host !== '') return `names the machine ${host}: ${form}, with three slashes`;
  if (search !== '' || hash !== '') return `has a ? or #, which is %3F or %23 in a path: ${form}`;
  return /%2f/i.test(pathname) ? `has a slash in a name (%2F): ${form}` : null;
}

const bucketQuery = ['endpoint', 'region'];
const isEndpoint = urlOf('http:', 'https:');

function bucketProblem({ hostname, port, username, password, hash, searchParams }: URL): string | null {
  const form = 'a bucket is s3://bucket/prefix?endpoint=https://…&region=…';
  if (username !== '' || password !== '') {
    return `must not hold credentials, which are in AWS_ACCESS_KEY_ID and the like: ${form}`;
  }
  if (port !== '') return `has a port where the bucket belongs: ${form}`;
  if (!/^[\w.-]+$/.test(hostname)) return `must name a bucket: ${form}`;
  if (hash !== '') return `has a #, which nothing comes of: ${form}`;
  const unknown = [...searchParams.keys()].find((name) => !bucketQuery.includes(name));
  if (unknown !== undefined) return `asks for ${unknown}, and may for ${bucketQuery.join(' and ')}: ${form}`;
  const twice = bucketQuery.find((name) => searchParams.getAll(name).length > 1);
  if (twice !== undefined) return `asks for ${twice} twice: ${form}`;
  if (!/^[\w-]+$/.test(searchParams.get('region') ?? 'any')) return `names no region: ${form}`;
  const endpoint = searchParams.get('endpoint');
  if (endpoint === null) return null;
  if (isEndpoint(endpoint) !== null) return `must name an endpoint with http:// or https://: ${form}`;
  const { username: user, password: secret } = new URL(endpoint);
  return user === '' && secret === ''
    ? null
    : `must not hold credentials, which are in AWS_ACCESS_KEY_ID and the like: ${form}`;
}
