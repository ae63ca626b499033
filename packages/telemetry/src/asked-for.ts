import { ConfigurationError } from '@baton/errors';

export const metricExporterNames = ['otlp', 'prometheus'] as const;
export type MetricExporterName = (typeof metricExporterNames)[number];

/**
 * What the standard variables ask for; nothing by default. Throws `ConfigurationError` for an exporter that Baton has not.
 * https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/#exporter-selection
 */
export function askedFor(env: NodeJS.ProcessEnv): {
  traces: boolean;
  metrics: readonly MetricExporterName[];
} {
  if (env['OTEL_SDK_DISABLED']?.toLowerCase() === 'true') return { traces: false, metrics: [] };
  return { traces: traces(env), metrics: metrics(env) };
}

function traces(env: NodeJS.ProcessEnv): boolean {
  const exporter = env['OTEL_TRACES_EXPORTER'];
  if (exporter) return exporter !== 'none';
  return Boolean(env['OTEL_EXPORTER_OTLP_ENDPOINT'] || env['OTEL_EXPORTER_OTLP_TRACES_ENDPOINT']);
}

function metrics(env: NodeJS.ProcessEnv): MetricExporterName[] {
  const exporters = env['OTEL_METRICS_EXPORTER'];
  if (!exporters) {
    return env['OTEL_EXPORTER_OTLP_ENDPOINT'] || env['OTEL_EXPORTER_OTLP_METRICS_ENDPOINT'] ? ['otlp'] : [];
  }
  const names = [...new Set(exporters.split(',').map((name) => name.trim()))].filter(
    (name) => name !== 'none',
  );
  return names.map((name) => {
    const known = metricExporterNames.find((exporter) => exporter === name);
    if (known) return known;
    throw new ConfigurationError(
      `OTEL_METRICS_EXPORTER=${exporters} must list ${metricExporterNames.join(', ')}, or be none`,
    );
  });
}
