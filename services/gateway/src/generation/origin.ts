import { createHash, randomInt } from 'node:crypto';
import { ConflictError, RequestError } from '@baton/errors';
import { type IdPrefix, idempotencyKey, newId, parseMessage } from '@baton/protocol';
import type { FastifyRequest } from 'fastify';
import { z } from 'zod';
import type { TenantGateway } from '../gateway.ts';

const originSchema = z.strictObject({
  v: z.literal(1),
  /** SHA-256 of route and body. */
  request: z.string(),
  id: z.string(),
  /** Milliseconds since the Unix epoch. */
  created_at: z.int(),
  seed: z.int(),
});

/** What makes one request's generations its own: the same origin and body give the same jobs. */
export interface Origin {
  readonly id: string;
  /** Milliseconds since the Unix epoch. */
  readonly created_at: number;
  /** Where the request names none. */
  readonly seed: number;
  /** Whether its generations may be there already. */
  readonly repeated: boolean;
}

export function newOrigin(prefix: IdPrefix, tenant: string): Origin {
  return { id: newId(prefix, tenant), created_at: Date.now(), seed: randomInt(2 ** 48 - 1), repeated: false };
}

/**
 * Where a request comes from: with an `Idempotency-Key` that came before, with the same body, from where it first did, on
 * whichever gateway that was. Throws `ConflictError` where the body was another, `RequestError` for a key that is none.
 */
export async function originOf(
  gateway: TenantGateway,
  request: FastifyRequest,
  prefix: IdPrefix,
): Promise<Origin> {
  const origin = newOrigin(prefix, gateway.tenant);
  const { id, created_at, seed } = origin;
  const name = request.headers['idempotency-key'];
  if (name === undefined) return origin;
  if (typeof name !== 'string' || name === '' || name.length > 255) {
    throw new RequestError(
      'invalid_value',
      'Idempotency-Key must have 1 to 255 characters',
      'Idempotency-Key',
    );
  }
  const key = idempotencyKey(gateway.tenant, sha256(name));
  const asked = sha256(`${request.routeOptions.url} ${JSON.stringify(request.body)}`);
  const created = await gateway.documents.create(
    key,
    JSON.stringify({ v: 1, request: asked, id, created_at, seed }),
  );
  const stored = created ? null : await gateway.documents.read(key);
  // It was new, or has expired in between.
  if (stored === null) return origin;
  const earlier = parseMessage(originSchema, stored, 'an idempotency key');
  if (earlier.request === asked) return { ...earlier, repeated: true };
  throw new ConflictError(
    'idempotency_key_reused',
    'this Idempotency-Key came with another request before; use a new one for each request',
    'Idempotency-Key',
  );
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}
