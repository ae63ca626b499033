import { AccessError } from '@baton/errors';
import type { ApiKeys, Scope } from '@baton/keys';
import type { FastifyRequest } from 'fastify';
import { keyOfSubprotocols } from '../ws/subprotocol.ts';

/** Whose requests these are where there are no keys. */
export const defaultTenant = 'default';

/** What a client has shown that it may do. */
export interface Access {
  readonly tenant: string;
  /** Asks again: a key may be revoked while its connection lives. Throws `AccessError`. */
  check(): Promise<void>;
}

declare module 'fastify' {
  interface FastifyRequest {
    /** Null on routes that anybody may use. */
    access: Access | null;
  }
}

/** Of a route that needs a key. */
export function accessOf({ access }: FastifyRequest): Access {
  if (access === null) throw new AccessError('invalid_api_key', 'this needs an API key');
  return access;
}

/**
 * The `onRequest` hook of routes that need a key with `scope`. With `keys` null everybody may do everything, as the one
 * tenant that there is; such a gateway listens on loopback only.
 */
export function requireScope(keys: ApiKeys | null, scope: Scope) {
  return async (request: FastifyRequest): Promise<void> => {
    if (keys === null) {
      request.access = { tenant: defaultTenant, check: async () => {} };
      return;
    }
    const key = presentedKey(request);
    const tenant = await tenantOf(keys, key, scope);
    request.access = { tenant, check: async () => void (await tenantOf(keys, key, scope)) };
  };
}

function presentedKey({ headers }: FastifyRequest): string | null {
  const [, bearer] = /^Bearer +(\S+)$/i.exec(headers.authorization ?? '') ?? [];
  return bearer ?? keyOfSubprotocols(headers['sec-websocket-protocol']);
}

async function tenantOf(keys: ApiKeys, key: string | null, scope: Scope): Promise<string> {
  if (key === null) {
    throw new AccessError(
      'invalid_api_key',
      'there is no API key; send one as "Authorization: Bearer <key>", or from a browser\'s WebSocket as the subprotocol "openai-insecure-api-key.<key>"',
    );
  }
  const found = await keys.find(key);
  if (found === null) throw new AccessError('invalid_api_key', 'the API key is unknown, or was revoked');
  if (found.scopes.includes(scope)) return found.tenant;
  throw new AccessError(
    'missing_scope',
    `this needs an API key with the scope '${scope}'; this one has '${found.scopes.join("', '")}'`,
  );
}
