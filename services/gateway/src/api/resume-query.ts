import { z } from 'zod';
import { cursor } from './cursor.ts';

const flag = z.enum(['true', 'false']).optional();

/** Query of GET /v1/responses/{id}. */
export const retrieveQuery = z
  .strictObject({
    stream: flag,
    starting_after: cursor,
    // What a response holds was decided when it was created; stored ones have no padding.
    include: z.unknown().optional(),
    'include[]': z.unknown().optional(),
    include_obfuscation: flag,
  })
  .refine((query) => query.starting_after === undefined || query.stream === 'true', {
    path: ['starting_after'],
    message: 'needs stream to be true',
  });

/** Query of the WebSocket: the response to resume, and the last event of it that the client has. */
export const resumeQuery = z.strictObject({ response_id: z.string(), starting_after: cursor });
