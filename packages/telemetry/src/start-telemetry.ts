import { setTimeout as delay } from 'node:timers/promises';

export interface ServiceIdentity {
  /** For example `baton-gateway`. `OTEL_SERVICE_NAME` overrides it. */
  service: string;
  version: string;
  /** Unique among the running processes of the service. */
  instanceId: string;
}

export interface Telemetry {
  /** False where no `OTEL_*` variable asked for traces: spans are then no-ops. */
  readonly active: boolean;
  /** Sends what is buffered; gives up after `timeoutMs`, since a dead collector must not hold up an exit. */
  shutdown(timeoutMs?: number): Promise<void>;
}

/**
 * Starts tracing when a standard variable asks for it (`OTEL_EXPORTER_OTLP_ENDPOINT`,
 * `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT` or `OTEL_TRACES_EXPORTER`), as
 * https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/ describes; otherwise the SDK is
 * not even loaded. Call once, before the first span.
 */
export async function startTelemetry(identity: ServiceIdentity): Promise<Telemetry> {
  if (!isAskedFor(process.env)) return { active: false, shutdown: async () => {} };

  const { NodeSDK } = await import('@opentelemetry/sdk-node');
  const { defaultResource, envDetector, hostDetector, processDetector, resourceFromAttributes } =
    await import('@opentelemetry/resources');
  const sdk = new NodeSDK({
    resource: defaultResource().merge(
      resourceFromAttributes({
        'service.name': identity.service,
        'service.version': identity.version,
        'service.instance.id': identity.instanceId,
      }),
    ),
    resourceDetectors: [hostDetector, processDetector, envDetector],
    metricReaders: [],
    logRecordProcessors: [],
  });
  sdk.start();
  return {
    active: true,
    shutdown: async (timeoutMs = 2000) => {
      // A collector that refuses the last spans is no reason for a service to fail its own shutdown.
      const flushed = sdk.shutdown().catch(() => {});
      await Promise.race([flushed, delay(timeoutMs, undefined, { ref: false })]);
    },
  };
}

function isAskedFor(env: NodeJS.ProcessEnv): boolean {
  if (env['OTEL_SDK_DISABLED']?.toLowerCase() === 'true') return false;
  const exporter = env['OTEL_TRACES_EXPORTER'];
  if (exporter) return exporter !== 'none';
  return Boolean(env['OTEL_EXPORTER_OTLP_ENDPOINT'] || env['OTEL_EXPORTER_OTLP_TRACES_ENDPOINT']);
}
