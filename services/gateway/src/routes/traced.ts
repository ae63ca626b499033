import { withSpan } from '@baton/telemetry';
import { context, propagation, SpanKind } from '@opentelemetry/api';
import type { FastifyReply, FastifyRequest } from 'fastify';

/** Runs a route's handler in a server span that continues the client's trace (W3C `traceparent`). */
export function traced(handler: (request: FastifyRequest, reply: FastifyReply) => Promise<unknown>) {
  return (request: FastifyRequest, reply: FastifyReply): Promise<unknown> => {
    const route = request.routeOptions.url ?? request.url;
    return withSpan(
      `${request.method} ${route}`,
      {
        kind: SpanKind.SERVER,
        parent: propagation.extract(context.active(), request.headers),
        attributes: { 'http.request.method': request.method, 'http.route': route },
      },
      () => handler(request, reply),
    );
  };
}
