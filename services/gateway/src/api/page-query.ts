import { z } from 'zod';

/** Query of a list of items. */
export const pageQuery = z.strictObject({
  after: z.string().optional(),
  limit: z
    .string()
    .regex(/^\d+$/, 'must be a whole number')
    .transform(Number)
    .pipe(z.int().min(1).max(100))
    .default(20),
  order: z.enum(['asc', 'desc']).default('desc'),
  // What an item holds was decided when it was made.
  include: z.unknown().optional(),
  'include[]': z.unknown().optional(),
});
