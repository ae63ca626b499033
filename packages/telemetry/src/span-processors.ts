import {
  BatchSpanProcessor,
  ConsoleSpanExporter,
  SimpleSpanProcessor,
  type SpanProcessor,
} from '@opentelemetry/sdk-trace';
import type { TraceExporterName } from './asked-for.ts';
import { type TelemetryLog, tellOfOutages } from './export-health.ts';
import { atLeastOne, otlpProtocol } from './otlp-settings.ts';

/** What hands spans over to the exporters asked for, set up by the standard variables. Throws `ConfigurationError`. */
export function spanProcessors(
  exporters: readonly TraceExporterName[],
  env: NodeJS.ProcessEnv,
  log: TelemetryLog,
): Promise<SpanProcessor[]> {
  return Promise.all(
    exporters.map(async (name) => {
      if (name === 'console') return new SimpleSpanProcessor({ exporter: new ConsoleSpanExporter() });
      return new BatchSpanProcessor({
        exporter: tellOfOutages(await otlpExporter(env), 'traces', log),
        // The SDK's five seconds would be what a process that is killed takes with it.
        scheduledDelayMillis: atLeastOne(env, 'OTEL_BSP_SCHEDULE_DELAY', 500),
        exportTimeoutMillis: atLeastOne(env, 'OTEL_BSP_EXPORT_TIMEOUT', 30_000),
        maxQueueSize: atLeastOne(env, 'OTEL_BSP_MAX_QUEUE_SIZE', 2048),
        maxExportBatchSize: atLeastOne(env, 'OTEL_BSP_MAX_EXPORT_BATCH_SIZE', 512),
      });
    }),
  );
}

async function otlpExporter(env: NodeJS.ProcessEnv) {
  switch (otlpProtocol(env, 'TRACES')) {
    case 'http/protobuf':
      return new (await import('@opentelemetry/exporter-trace-otlp-proto')).OTLPTraceExporter();
    case 'http/json':
      return new (await import('@opentelemetry/exporter-trace-otlp-http')).OTLPTraceExporter();
    case 'grpc':
      return new (await import('@opentelemetry/exporter-trace-otlp-grpc')).OTLPTraceExporter();
  }
}
