import {
  type AggregationTemporality,
  ConsoleMetricExporter,
  type IMetricReader,
  type InstrumentType,
  PeriodicExportingMetricReader,
} from '@opentelemetry/sdk-metrics';
import type { MetricExporterName } from '../asked-for.ts';
import { atLeastOne, otlpProtocol, wholeNumber } from '../otlp-settings.ts';
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
      const exportIntervalMillis = atLeastOne(env, 'OTEL_METRIC_EXPORT_INTERVAL', 60_000);
      const timeout = atLeastOne(env, 'OTEL_METRIC_EXPORT_TIMEOUT', 30_000);
      return new SendingReader({
        exporter: exporter === 'console' ? new ConsoleMetricExporter() : await otlpExporter(env),
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
  switch (otlpProtocol(env, 'METRICS')) {
    case 'http/protobuf':
      return new (await import('@opentelemetry/exporter-metrics-otlp-proto')).OTLPMetricExporter();
    case 'http/json':
      return new (await import('@opentelemetry/exporter-metrics-otlp-http')).OTLPMetricExporter();
    case 'grpc':
      return new (await import('@opentelemetry/exporter-metrics-otlp-grpc')).OTLPMetricExporter();
  }
}
