import { ConfigurationError } from '@baton/errors';
import { PrometheusExporter, PrometheusSerializer } from '@opentelemetry/exporter-prometheus';
import { type CollectionResult, DataPointType } from '@opentelemetry/sdk-metrics';
import { nameWithUnit } from './prometheus-name.ts';

const serializer = new PrometheusSerializer(undefined, false, undefined, false, true);

/** `/metrics` on a port of its own, with the names that the collector gives Prometheus as well. */
export class PrometheusEndpoint extends PrometheusExporter {
  /** Throws `ConfigurationError` where the address cannot be listened on. */
  static async listen(host: string, port: number): Promise<PrometheusEndpoint> {
    const endpoint = new PrometheusEndpoint({ host, port, preventServerStart: true, withoutScopeInfo: true });
    try {
      await endpoint.startServer();
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      throw new ConfigurationError(
        `OTEL_EXPORTER_PROMETHEUS_HOST=${host} OTEL_EXPORTER_PROMETHEUS_PORT=${port} cannot be listened on: ${code}`,
      );
    }
    return endpoint;
  }

  /** The page that is served, for a server that has another port. */
  async page(): Promise<string> {
    const { resourceMetrics } = await this.collect();
    return serializer.serialize(resourceMetrics);
  }

  override async collect(...options: Parameters<PrometheusExporter['collect']>): Promise<CollectionResult> {
    const result = await super.collect(...options);
    const { scopeMetrics, ...rest } = result.resourceMetrics;
    const renamed = scopeMetrics.map((scope) => ({
      ...scope,
      metrics: scope.metrics.map((metric) => {
        const { name, unit } = metric.descriptor;
        const isGauge =
          metric.dataPointType === DataPointType.GAUGE ||
          (metric.dataPointType === DataPointType.SUM && !metric.isMonotonic);
        return { ...metric, descriptor: { ...metric.descriptor, name: nameWithUnit(name, unit, isGauge) } };
      }),
    }));
    return { ...result, resourceMetrics: { ...rest, scopeMetrics: renamed } };
  }
}
