import { z } from 'zod';
import { includable, metadata, optional } from './fields.ts';
import { inputItem } from './items.ts';

const items = z.array(inputItem).max(20);

/** Body of POST /v1/conversations. */
export const conversationRequest = z.strictObject({ items: optional(items), metadata });

/** Body of POST /v1/conversations/{id}. */
export const conversationUpdate = z.strictObject({ metadata });

/** Body of POST /v1/conversations/{id}/items. */
export const itemsRequest = z.strictObject({ items: items.min(1), include: includable });

/** Query of what takes no other parameters. */
export const includeQuery = z.strictObject({
  include: z.unknown().optional(),
  'include[]': z.unknown().optional(),
});
