import {
  type AggregationTemporality,
  ConsoleMetricExporter,
  type IMetricReader,
  type InstrumentType,
  PeriodicExportingMetricReader,
} from '@opentelemetry/sdk-metrics';
import type { MetricExporterName } from '../asked-for.ts';
import { type TelemetryLog, tellOfOutages } from '../export-health.ts';
import { atLeastOne, otlpProtocol, otlpTimeout, wholeNumber } from '../otlp-settings.ts';
import { forgetfulGauges } from './forgetful-gauges.ts';
import { PrometheusEndpoint } from './prometheus-endpoint.ts';

/** Readers for the exporters asked for, set up by the standard variables. Throws `ConfigurationError`. */
export function metricReaders(
  exporters: readonly MetricExporterName[],
  env: NodeJS.ProcessEnv,
  log: TelemetryLog,
): Promise<IMetricReader[]> {
  return Promise.all(
    exporters.map(async (exporter) => {
      if (exporter === 'prometheus') {
        const host = env['OTEL_EXPORTER_PROMETHEUS_HOST'] || 'localhost';
        return PrometheusEndpoint.listen(host, wholeNumber(env, 'OTEL_EXPORTER_PROMETHEUS_PORT', 9464));
      }
      const exportIntervalMillis = atLeastOne(env, 'OTEL_METRIC_EXPORT_INTERVAL', 60_000);
      // The SDK refuses a longer one, which the default is for whoever sets a short interval alone.
      const exportTimeoutMillis = Math.min(
        atLeastOne(env, 'OTEL_METRIC_EXPORT_TIMEOUT', 30_000),
        exportIntervalMillis,
      );
      return new SendingReader({
        exporter:
          exporter === 'console'
            ? new ConsoleMetricExporter()
            : tellOfOutages(await otlpExporter(env, exportTimeoutMillis), 'metrics', log),
        exportIntervalMillis,
        exportTimeoutMillis,
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

async function otlpExporter(env: NodeJS.ProcessEnv, exportTimeoutMillis: number) {
  // Before the reader loses patience, which would not say what is wrong.
  const timeoutMillis = Math.min(otlpTimeout(env, 'METRICS'), Math.ceil(0.9 * exportTimeoutMillis));
  switch (otlpProtocol(env, 'METRICS')) {
    case 'http/protobuf':
      return new (await import('@opentelemetry/exporter-metrics-otlp-proto')).OTLPMetricExporter({
        timeoutMillis,
      });
    case 'http/json':
      return new (await import('@opentelemetry/exporter-metrics-otlp-http')).OTLPMetricExporter({
        timeoutMillis,
      });
    case 'grpc':
      return new (await import('@opentelemetry/exporter-metrics-otlp-grpc')).OTLPMetricExporter({
        timeoutMillis,
      });
  }
}
