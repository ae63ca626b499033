import { isLoopback } from '@baton/environment';
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

/**
 * An `onRequest` hook of a gateway without keys, which is on the machine of whoever uses it: a page whose own name has been made
 * to lead there (DNS rebinding) is of the same origin for its browser, which then sends no `Origin`, but still names it in `Host`.
 * So only the names that such a gateway has are answered: loopback's, and those of `allowed` origins, under which a proxy may
 * show it.
 */
export function checkHost(allowed: readonly string[]) {
  const names = new Set(allowed.map((origin) => new URL(origin).hostname));
  return async ({ headers: { host } }: FastifyRequest): Promise<void> => {
    // Browsers send it always.
    if (host === undefined) return;
    const [, name = ''] = /^(\[[^[\]]*\]|[^:]*)(?::\d*)?$/.exec(host.toLowerCase()) ?? [];
    if (names.has(name) || isLoopback(name.replace(/^\[(.*)\]$/, '$1'))) return;
    throw new AccessError(
      'host_not_allowed',
      `this server asks for no keys, and so answers under loopback's names only, not as ${host}; BATON_ALLOWED_ORIGINS may name another, or BATON_AUTH=keys lets it have any`,
    );
  };
}
