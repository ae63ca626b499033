import { ConfigurationError } from '@baton/errors';
import { PrometheusExporter, PrometheusSerializer } from '@opentelemetry/exporter-prometheus';
import {
  type AggregationTemporality,
  type CollectionResult,
  DataPointType,
  type InstrumentType,
} from '@opentelemetry/sdk-metrics';
import { forgetfulGauges } from './forgetful-gauges.ts';
import { nameWithUnit } from './prometheus-name.ts';

const serializer = new PrometheusSerializer(undefined, false, undefined, false, true);

/** `/metrics` on a port of its own, with the names that the collector gives Prometheus as well. */
export class PrometheusEndpoint extends PrometheusExporter {
  #collected: Promise<unknown> = Promise.resolve();

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

  override selectAggregationTemporality(instrument: InstrumentType): AggregationTemporality {
    return forgetfulGauges(instrument) ?? super.selectAggregationTemporality(instrument);
  }

  /** One after another: of two at the same moment the first would take what the second has observed. */
  override collect(...options: Parameters<PrometheusExporter['collect']>): Promise<CollectionResult> {
    const collected = this.#collected.then(() => this.#renamed(super.collect(...options)));
    this.#collected = collected.catch(() => {});
    return collected;
  }

  async #renamed(collected: Promise<CollectionResult>): Promise<CollectionResult> {
    const result = await collected;
    const { scopeMetrics, ...rest } = result.resourceMetrics;
    // The host's id takes a moment to be read, of which the SDK would warn.
    await rest.resource.waitForAsyncAttributes?.();
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
