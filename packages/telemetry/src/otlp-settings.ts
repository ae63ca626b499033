import { ConfigurationError } from '@baton/errors';

type Signal = 'TRACES' | 'METRICS';

const protocols = ['http/protobuf', 'http/json', 'grpc'] as const;

/**
 * How a signal goes over OTLP, by the variable of the signal or else that of all. Throws `ConfigurationError`, also for an
 * address that the SDK would put aside for its own default.
 */
export function otlpProtocol(env: NodeJS.ProcessEnv, signal: Signal): (typeof protocols)[number] {
  const [variable, value] = settingOf(env, signal, 'PROTOCOL') ?? ['', 'http/protobuf'];
  const protocol = protocols.find((name) => name === value);
  if (!protocol) throw new ConfigurationError(`${variable}=${value} must be ${protocols.join(', ')}`);
  const endpoint = settingOf(env, signal, 'ENDPOINT');
  // gRPC takes addresses without a scheme.
  if (endpoint && protocol !== 'grpc' && !isHttp(endpoint[1])) {
    throw new ConfigurationError(
      `${endpoint.join('=')} must be a URL that starts with http:// or https://, such as http://127.0.0.1:4318`,
    );
  }
  return protocol;
}

/** How long an exporter may take to send a signal, in milliseconds. */
export function otlpTimeout(env: NodeJS.ProcessEnv, signal: Signal): number {
  const [variable] = settingOf(env, signal, 'TIMEOUT') ?? ['OTEL_EXPORTER_OTLP_TIMEOUT'];
  return atLeastOne(env, variable, 10_000);
}

/** A whole number above 0 that timers and buffers can have. Throws `ConfigurationError`. */
export function atLeastOne(env: NodeJS.ProcessEnv, name: string, byDefault: number): number {
  const most = 2 ** 31 - 1;
  const value = wholeNumber(env, name, byDefault);
  if (value >= 1 && value <= most) return value;
  throw new ConfigurationError(`${name}=${env[name]} must be between 1 and ${most}`);
}

export function wholeNumber(env: NodeJS.ProcessEnv, name: string, byDefault: number): number {
  const text = env[name] || String(byDefault);
  if (!/^\d+$/.test(text)) throw new ConfigurationError(`${name}=${text} must be a whole number`);
  return Number(text);
}

/** The variable that says it, with what it says. */
function settingOf(
  env: NodeJS.ProcessEnv,
  signal: Signal,
  what: 'PROTOCOL' | 'ENDPOINT' | 'TIMEOUT',
): [string, string] | null {
  for (const name of [`OTEL_EXPORTER_OTLP_${signal}_${what}`, `OTEL_EXPORTER_OTLP_${what}`]) {
    const value = env[name]?.trim();
    if (value) return [name, value];
  }
  return null;
}

function isHttp(url: string): boolean {
  return URL.canParse(url) && ['http:', 'https:'].includes(new URL(url).protocol);
}
