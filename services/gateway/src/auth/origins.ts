import { AccessError } from '@baton/errors';
import type { FastifyRequest } from 'fastify';

/**
 * An `onRequest` hook: browsers name the page that sends a request, and those of other pages than `allowed` are refused,
 * WebSockets too, which CORS does not cover. A page must not use a gateway on its reader's own machine unasked.
 */
export function checkOrigin(allowed: readonly string[]) {
  return async ({ headers: { origin } }: FastifyRequest): Promise<void> => {
    if (origin === undefined || allowed.includes(origin)) return;
    throw new AccessError(
      'origin_not_allowed',
      `pages of ${origin} may not use this server; BATON_ALLOWED_ORIGINS says which may`,
    );
  };
}
