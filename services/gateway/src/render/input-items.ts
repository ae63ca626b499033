import type { GenerationJob } from '@baton/protocol';
import { z } from 'zod';
import { readResponseEcho } from './response-object.ts';

/** Query of GET /v1/responses/{id}/input_items. */
export const itemsQuery = z.strictObject({
  after: z.string().optional(),
  limit: z.coerce.number().int().min(1).max(100).default(20),
  order: z.enum(['asc', 'desc']).default('desc'),
  include: z.unknown().optional(),
  'include[]': z.unknown().optional(),
});

/** A page of the messages that a response was asked with. */
export function inputItems(job: GenerationJob, { after, limit, order }: z.output<typeof itemsQuery>) {
  const items = readResponseEcho(job).input.map(({ role, content }, index) => ({
    id: `${job.id.replace(/^resp_/, 'msg_')}_in_${index}`,
    type: 'message',
    role,
    status: 'completed',
    content: [
      role === 'assistant'
        ? { type: 'output_text', text: content, annotations: [] }
        : { type: 'input_text', text: content },
    ],
  }));
  const ordered = order === 'asc' ? items : items.toReversed();
  const from = after === undefined ? 0 : ordered.findIndex(({ id }) => id === after) + 1;
  const data = ordered.slice(from, from + limit);
  return {
    object: 'list',
    data,
    first_id: data[0]?.id ?? null,
    last_id: data.at(-1)?.id ?? null,
    has_more: from + limit < ordered.length,
  } as const;
}
