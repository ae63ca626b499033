/** How units end names, in Prometheus's words. */
const unitSuffixes: Readonly<Record<string, string>> = { s: 'seconds', ms: 'milliseconds', By: 'bytes' };

/**
 * A metric's name with its unit, which Prometheus expects at its end, as the collector writes it too:
 * https://opentelemetry.io/docs/specs/otel/compatibility/prometheus_and_openmetrics/#metric-metadata-1
 */
export function nameWithUnit(name: string, unit: string, isGauge: boolean): string {
  const suffix = unitSuffixes[unit] ?? (unit === '1' && isGauge ? 'ratio' : undefined);
  return suffix === undefined || name.endsWith(suffix) ? name : `${name}_${suffix}`;
}

/** The names under which Prometheus finds a metric of ours. */
export function prometheusNames({
  kind,
  name,
  unit,
}: {
  readonly kind: 'histogram' | 'counter' | 'gauge';
  readonly name: string;
  readonly unit: string;
}): string[] {
  const base = nameWithUnit(name.replaceAll('.', '_'), unit, kind === 'gauge');
  switch (kind) {
    case 'gauge':
      return [base];
    case 'counter':
      return [`${base}_total`];
    case 'histogram':
      return [`${base}_bucket`, `${base}_sum`, `${base}_count`];
  }
}
