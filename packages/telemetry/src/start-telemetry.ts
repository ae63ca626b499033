import { setTimeout as delay } from 'node:timers/promises';
import { DiagLogLevel, diag } from '@opentelemetry/api';
import { askedFor } from './asked-for.ts';
import { sdkWarnings, type TelemetryLog } from './export-health.ts';

export interface ServiceIdentity {
  /** For example `baton-gateway`. `OTEL_SERVICE_NAME` overrides it. */
  service: string;
  version: string;
  /** Unique among the running processes of the service. */
  instanceId: string;
}

export interface Telemetry {
  /** False where no `OTEL_*` variable asked for traces: spans are then no-ops. */
  readonly traces: boolean;
  /** False where none asked for metrics: recording does nothing then. */
  readonly metrics: boolean;
  /** The page for Prometheus, with the metrics of this moment; null where it was not asked for. */
  readonly metricsPage: (() => Promise<string>) | null;
  /** Sends what is buffered; gives up after `timeoutMs`, since a dead collector must not hold up an exit. */
  shutdown(timeoutMs?: number): Promise<void>;
}

/**
 * Starts traces and metrics where standard variables ask for them (`OTEL_EXPORTER_OTLP_ENDPOINT` for both;
 * `OTEL_TRACES_EXPORTER`, `OTEL_METRICS_EXPORTER` for one of them, the latter also for Prometheus), as
 * https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/ describes; otherwise the SDK is not even
 * loaded. Call once, before the first span and the first metric. `log` is told where something cannot be sent. Throws
 * `ConfigurationError` where a variable is wrong.
 */
export async function startTelemetry(
  identity: ServiceIdentity,
  log: TelemetryLog = { info: () => {}, warn: () => {} },
): Promise<Telemetry> {
  const wanted = askedFor(process.env);
  const asked = { traces: wanted.traces.length > 0, metrics: wanted.metrics.length > 0 };
  if (!asked.traces && !asked.metrics) return { ...asked, metricsPage: null, shutdown: async () => {} };

  // Where OTEL_LOG_LEVEL is set, the SDK prints what it has to say itself.
  if (!process.env['OTEL_LOG_LEVEL']) diag.setLogger(sdkWarnings(log), { logLevel: DiagLogLevel.WARN });
  const { NodeSDK } = await import('@opentelemetry/sdk-node');
  const { defaultResource, envDetector, hostDetector, processDetector, resourceFromAttributes } =
    await import('@opentelemetry/resources');
  const { RuntimeNodeInstrumentation } = await import('@opentelemetry/instrumentation-runtime-node');
  const { metricReaders, pageOf } = await import('./metrics/metric-readers.ts');
  const { spanProcessors } = await import('./span-processors.ts');
  const processors = await spanProcessors(wanted.traces, process.env, log);
  const readers = await metricReaders(wanted.metrics, process.env, log);
  const sdk = new NodeSDK({
    resource: defaultResource().merge(
      resourceFromAttributes({
        'service.name': identity.service,
        'service.version': identity.version,
        'service.instance.id': identity.instanceId,
      }),
    ),
    resourceDetectors: [hostDetector, processDetector, envDetector],
    metricReaders: readers,
    // Event-loop delay, garbage collection, heap.
    instrumentations: asked.metrics ? [new RuntimeNodeInstrumentation()] : [],
    logRecordProcessors: [],
    spanProcessors: processors,
  });
  sdk.start();
  return {
    ...asked,
    metricsPage: pageOf(readers),
    shutdown: async (timeoutMs = 2000) => {
      // A collector that refuses the last of it is no reason for a service to fail its own shutdown.
      const flushed = sdk.shutdown().catch((error: unknown) => {
        log.warn({ err: error }, 'telemetry did not end in order; the last of it may be lost');
      });
      const late = Symbol();
      const first = await Promise.race([flushed, delay(timeoutMs, late, { ref: false })]);
      if (first === late)
        log.warn(`the last telemetry could not be sent within ${timeoutMs} ms, and is lost`);
    },
  };
}
