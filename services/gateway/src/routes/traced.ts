import { withSpan } from '@baton/telemetry';
import { context, propagation, SpanKind } from '@opentelemetry/api';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { accessOf } from '../auth/access.ts';
import type { Gateway, TenantGateway } from '../gateway.ts';

/** Runs a route's handler for the tenant who asks, in a server span that continues the client's trace (W3C `traceparent`). */
export function traced(
  gateway: Gateway,
  handler: (request: FastifyRequest, reply: FastifyReply, gateway: TenantGateway) => Promise<unknown>,
) {
  return (request: FastifyRequest, reply: FastifyReply): Promise<unknown> => {
    const { tenant } = accessOf(request);
    const route = request.routeOptions.url ?? request.url;
    return withSpan(
      `${request.method} ${route}`,
      {
        kind: SpanKind.SERVER,
        parent: propagation.extract(context.active(), request.headers),
        attributes: { 'http.request.method': request.method, 'http.route': route },
      },
      () =>
        gateway.tasks.run(() =>
          handler(request, reply, {
            ...gateway,
            tenant,
            setHeader: (name, value) => void reply.header(name, value),
          }),
        ),
    );
  };
}
