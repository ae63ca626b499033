import { z } from 'zod';

/** `starting_after` of a URL: the last event that the client has. */
export const cursor = z
  .string()
  .regex(/^\d+$/, 'must be the sequence_number of an event')
  .transform(Number)
  .optional();
