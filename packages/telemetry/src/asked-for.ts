import { ConfigurationError } from '@baton/errors';

const traceExporterNames = ['otlp', 'console'] as const;
export type TraceExporterName = (typeof traceExporterNames)[number];
const metricExporterNames = ['otlp', 'prometheus', 'console'] as const;
export type MetricExporterName = (typeof metricExporterNames)[number];

/**
 * What the standard variables ask for; nothing by default. Throws `ConfigurationError` for an exporter that Baton has not.
 * https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/#exporter-selection
 */
export function askedFor(env: NodeJS.ProcessEnv): {
  traces: readonly TraceExporterName[];
  metrics: readonly MetricExporterName[];
} {
  if (env['OTEL_SDK_DISABLED']?.toLowerCase() === 'true') return { traces: [], metrics: [] };
  return {
    traces: exporters(env, 'TRACES', traceExporterNames),
    metrics: exporters(env, 'METRICS', metricExporterNames),
  };
}

function exporters<N extends string>(
  env: NodeJS.ProcessEnv,
  signal: 'TRACES' | 'METRICS',
  known: readonly (N | 'otlp')[],
): (N | 'otlp')[] {
  const variable = `OTEL_${signal}_EXPORTER`;
  const value = env[variable] ?? '';
  const names = [...new Set(value.split(',').map((name) => name.trim()))].filter((name) => name !== '');
  if (names.length === 0) {
    const endpoint = env['OTEL_EXPORTER_OTLP_ENDPOINT'] || env[`OTEL_EXPORTER_OTLP_${signal}_ENDPOINT`];
    return endpoint ? ['otlp'] : [];
  }
  if (names.length === 1 && names[0] === 'none') return [];
  return names.map((name) => {
    const found = known.find((exporter) => exporter === name);
    if (found) return found;
    throw new ConfigurationError(
      `${variable}=${value} must be none, or list some of ${known.join(', ')} with commas between`,
    );
  });
}
