import { outcomeOf } from '@baton/errors';
import { attributes, withSpan } from '@baton/telemetry';
import { context, propagation, SpanKind } from '@opentelemetry/api';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { accessOf } from '../auth/access.ts';
import { asBatonError } from '../errors.ts';
import type { Gateway, TenantGateway } from '../gateway.ts';

/** Runs a route's handler for the tenant who asks, in a server span that continues the client's trace (W3C `traceparent`). */
export function traced(
  gateway: Gateway,
  handler: (request: FastifyRequest, reply: FastifyReply, gateway: TenantGateway) => Promise<unknown>,
) {
  return (request: FastifyRequest, reply: FastifyReply): Promise<unknown> => {
    const { tenant } = accessOf(request);
    const route = request.routeOptions.url ?? request.url;
    const setHeader = (name: string, value: string | number) => void reply.header(name, value);
    return withSpan(
      `${request.method} ${route}`,
      {
        kind: SpanKind.SERVER,
        parent: propagation.extract(context.active(), request.headers),
        attributes: {
          [attributes.httpMethod]: request.method,
          [attributes.httpRoute]: route,
          [attributes.requestId]: request.id,
        },
      },
      async (span) => {
        request.within = context.active();
        try {
          const answer = await gateway.tasks.run(() =>
            handler(request, reply, { ...gateway, tenant, setHeader }),
          );
          span.setAttribute(attributes.httpStatus, reply.statusCode);
          return answer;
        } catch (thrown) {
          // A client that has left gets no answer.
          if (!reply.raw.destroyed) {
            span.setAttribute(attributes.httpStatus, outcomeOf(asBatonError(thrown).code).status);
          }
          throw thrown;
        }
      },
    );
  };
}
