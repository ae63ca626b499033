import { withSpan } from '@baton/telemetry';
import { context, propagation, SpanKind } from '@opentelemetry/api';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { Gateway } from '../gateway.ts';

/** Runs a route's handler in a server span that continues the client's trace (W3C `traceparent`). */
export function traced(
  { tasks }: Gateway,
  handler: (request: FastifyRequest, reply: FastifyReply) => Promise<unknown>,
) {
  return (request: FastifyRequest, reply: FastifyReply): Promise<unknown> => {
    const route = request.routeOptions.url ?? request.url;
    return withSpan(
      `${request.method} ${route}`,
      {
        kind: SpanKind.SERVER,
        parent: propagation.extract(context.active(), request.headers),
        attributes: { 'http.request.method': request.method, 'http.route': route },
      },
      () => tasks.run(() => handler(request, reply)),
    );
  };
}
