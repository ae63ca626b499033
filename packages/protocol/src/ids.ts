import { randomBytes } from 'node:crypto';
import { z } from 'zod';

/** Kinds of ids clients see; a generation's id is that of its response or completion. */
export type IdPrefix = 'resp' | 'chatcmpl' | 'cmpl' | 'conv' | 'msg' | 'fc' | 'fco' | 'req';

/** 128 random bits behind the prefix, for example `resp_9f0c…`. */
export function newId(prefix: IdPrefix): string {
  return `${prefix}_${randomBytes(16).toString('hex')}`;
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
