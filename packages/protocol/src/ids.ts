import { createHash, randomBytes } from 'node:crypto';
import { z } from 'zod';

/** Kinds of ids clients see; a generation's id is that of its response or completion. */
export type IdPrefix = 'resp' | 'chatcmpl' | 'cmpl' | 'conv' | 'msg' | 'fc' | 'fco';

const tagDigits = 8;

/** The tenant's tag and 96 random bits behind the prefix, for example `resp_37a8eec1…`. */
export function newId(prefix: IdPrefix, tenant: string): string {
  return `${prefix}_${tenantTag(tenant)}${randomBytes(12).toString('hex')}`;
}

/** Names a request before anybody knows whose it is. */
export function newRequestId(): string {
  return `req_${randomBytes(16).toString('hex')}`;
}

/**
 * The first 8 hexadecimal digits of SHA-256 of the tenant's name: `printf acme | sha256sum | cut -c1-8`. Two tenants may come
 * to have the same one, so what carries it is another's for certain only where the tags differ.
 */
export function tenantTag(tenant: string): string {
  return createHash('sha256').update(tenant).digest('hex').slice(0, tagDigits);
}

/** The tag of the tenant whose `id` it is. */
export function tagOfId(id: string): string {
  const start = id.indexOf('_') + 1;
  return id.slice(start, start + tagDigits);
}

/** Whether it may be that tenant's: what does not carry its tag is not. */
export function carriesTagOf(tenant: string, id: string): boolean {
  return tagOfId(id) === tenantTag(tenant);
}

/**
 * A generation's id. It becomes a NATS subject token and a BullMQ job id, so it holds no `.`, `*`, `>`,
 * `:` or space. Requests with several choices suffix the choice's index: `cmpl_9f0c…-3`.
 */
export const generationId = z.string().regex(/^(resp|chatcmpl|cmpl)_[0-9a-f]{32}(-[0-9]{1,4})?$/);

/** Whose requests and generations these are; part of Redis keys. */
export const tenantName = z
  .string()
  .regex(/^[a-z0-9_-]{1,64}$/, 'must be 1 to 64 lower-case letters, digits, "_" or "-"');

/** The generation that computes choice `index` of request `requestId`. */
export function choiceGenerationId(requestId: string, index: number): string {
  return index === 0 ? requestId : `${requestId}-${index}`;
}
