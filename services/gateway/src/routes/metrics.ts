import { NotFoundError } from '@baton/errors';
import type { FastifyInstance } from 'fastify';

/** For Prometheus: this gateway's metrics, whose labels name tenants. `page` is null where nobody asked for them. */
export function metricsRoutes(app: FastifyInstance, page: (() => Promise<string>) | null): void {
  app.get('/metrics', async (_request, reply) => {
    if (page === null) {
      throw new NotFoundError(
        'route_not_found',
        'metrics are off; OTEL_METRICS_EXPORTER=prometheus turns them on',
      );
    }
    return reply.type('text/plain; version=0.0.4; charset=utf-8').send(await page());
  });
}
