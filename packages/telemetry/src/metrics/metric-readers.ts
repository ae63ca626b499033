import { ConfigurationError } from '@baton/errors';
import {
  type AggregationTemporality,
  type IMetricReader,
  type InstrumentType,
  PeriodicExportingMetricReader,
} from '@opentelemetry/sdk-metrics';
import type { MetricExporterName } from '../asked-for.ts';
import { forgetfulGauges } from './forgetful-gauges.ts';
import { PrometheusEndpoint } from './prometheus-endpoint.ts';

/** Readers for the exporters asked for, set up by the standard variables. Throws `ConfigurationError`. */
export function metricReaders(
  exporters: readonly MetricExporterName[],
  env: NodeJS.ProcessEnv,
): Promise<IMetricReader[]> {
  return Promise.all(
    exporters.map(async (exporter) => {
      if (exporter === 'prometheus') {
        const host = env['OTEL_EXPORTER_PROMETHEUS_HOST'] || 'localhost';
        return PrometheusEndpoint.listen(host, wholeNumber(env, 'OTEL_EXPORTER_PROMETHEUS_PORT', 9464));
      }
      const exportIntervalMillis = wholeNumber(env, 'OTEL_METRIC_EXPORT_INTERVAL', 60_000);
      const timeout = wholeNumber(env, 'OTEL_METRIC_EXPORT_TIMEOUT', 30_000);
      return new SendingReader({
        exporter: await otlpExporter(env),
        exportIntervalMillis,
        // The SDK refuses a longer one, which the default is for whoever sets a short interval alone.
        exportTimeoutMillis: Math.min(timeout, exportIntervalMillis),
      });
    }),
  );
}

/** The page of the reader that Prometheus has; null where it has none. */
export function pageOf(readers: readonly IMetricReader[]): (() => Promise<string>) | null {
  const endpoint = readers.find((reader) => reader instanceof PrometheusEndpoint);
  return endpoint ? () => endpoint.page() : null;
}

class SendingReader extends PeriodicExportingMetricReader {
  override selectAggregationTemporality(instrument: InstrumentType): AggregationTemporality {
    return forgetfulGauges(instrument) ?? super.selectAggregationTemporality(instrument);
  }
}

async function otlpExporter(env: NodeJS.ProcessEnv) {
  const variable = env['OTEL_EXPORTER_OTLP_METRICS_PROTOCOL']
    ? 'OTEL_EXPORTER_OTLP_METRICS_PROTOCOL'
    : 'OTEL_EXPORTER_OTLP_PROTOCOL';
  const protocol = env[variable] || 'http/protobuf';
  switch (protocol) {
    case 'http/protobuf':
      return new (await import('@opentelemetry/exporter-metrics-otlp-proto')).OTLPMetricExporter();
    case 'http/json':
      return new (await import('@opentelemetry/exporter-metrics-otlp-http')).OTLPMetricExporter();
    case 'grpc':
      return new (await import('@opentelemetry/exporter-metrics-otlp-grpc')).OTLPMetricExporter();
    default:
      throw new ConfigurationError(`${variable}=${protocol} must be http/protobuf, http/json or grpc`);
  }
}

function wholeNumber(env: NodeJS.ProcessEnv, name: string, byDefault: number): number {
  const text = env[name] || String(byDefault);
  if (!/^\d+$/.test(text)) throw new ConfigurationError(`${name}=${text} must be a whole number`);
  return Number(text);
}
