import { z } from 'zod';
import { generationId, tenantName } from './ids.ts';

/** STARTING → RUNNING → DRAINING → STOPPED; whoever is silent instead is lost. */
export const workerStates = ['starting', 'running', 'draining', 'stopped'] as const;

/** What a worker says of itself several times a second. */
export const workerStatusSchema = z.object({
  v: z.literal(1),
  worker: z.string(),
  pid: z.int(),
  host: z.string(),
  state: z.enum(workerStates),
  device: z.string(),
  model: z.string(),
  /** Of the model: states move between workers that have the same one. */
  fingerprint: z.string(),
  slots: z.int(),
  generations: z.array(
    z.object({
      id: generationId,
      /** Prompt and output tokens so far. */
      tokens: z.int(),
      /** How many of them the newest stored snapshot remembers. */
      stored: z.int(),
    }),
  ),
});
export type WorkerStatus = z.infer<typeof workerStatusSchema>;

/** What a worker is told to do. */
export const workerCommandSchema = z.discriminatedUnion('kind', [
  /** Hand over everything, take nothing more, and stop. */
  z.object({ v: z.literal(1), kind: z.literal('drain') }),
  /** Hand one generation over to another worker, or null: to whichever has most room. */
  z.object({
    v: z.literal(1),
    kind: z.literal('migrate'),
    generation: generationId,
    to: z.string().nullable(),
  }),
  /** Follow the log of a generation that is about to come, and bring its newest stored state into memory. */
  z.object({ v: z.literal(1), kind: z.literal('prepare'), generation: generationId }),
  /** Run a generation whose owner has released it, under the lock that it has in the queue. */
  z.object({
    v: z.literal(1),
    kind: z.literal('adopt'),
    generation: generationId,
    lock_token: z.string(),
  }),
  /** Keep nothing in memory of a generation that was deleted. */
  z.object({
    v: z.literal(1),
    kind: z.literal('forget'),
    tenant: tenantName,
    generation: generationId,
  }),
]);
export type WorkerCommand = z.infer<typeof workerCommandSchema>;

/** Its answer. */
export const commandReplySchema = z.object({ v: z.literal(1), done: z.boolean(), reason: z.string() });
export type CommandReply = z.infer<typeof commandReplySchema>;
