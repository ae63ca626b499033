import { z } from 'zod';
import { generationId, tagOfId, tenantName, tenantTag } from './ids.ts';
import { samplingSchema } from './sampling.ts';

export const endpointSchema = z.enum(['responses', 'chat.completions', 'completions']);
export type Endpoint = z.infer<typeof endpointSchema>;

/**
 * One generation to run, complete: a worker needs nothing else, and entry 0 of the log carries it again, so
 * that a gateway can put back a job that the queue lost. Strict, all through: whoever left out a field that it does not know
 * would compute something else than was asked for.
 */
export const generationJobSchema = z
  .strictObject({
    v: z.literal(1),
    id: generationId,
    tenant: tenantName,
    endpoint: endpointSchema,
    model: z.string(),
    /** Milliseconds since the Unix epoch. */
    created_at: z.int(),
    /** A worker that takes it later than this, as the first one, fails it: nobody waits for it any more. Ms since the epoch. */
    start_by: z.int().optional(),
    /** Prompt token ids, as rendered and tokenised by the gateway; never re-tokenised. */
    prompt: z.array(z.int().min(0)).min(1),
    /** The generation before it in its conversation, whose prompt and output are this prompt's first `tokens` ids. */
    parent: z.strictObject({ id: generationId, tokens: z.int().min(1) }).nullable(),
    /** With so many tokens other prompts of this tenant may begin too: their state is kept for those. */
    shared_prefix: z.int().min(1).optional(),
    /** Whether another generation may come to name this one as its parent: its state is then kept. */
    continuable: z.boolean(),
    sampling: samplingSchema,
    /** Fields of the request that the endpoint's objects echo back; opaque to workers. */
    echo: z.record(z.string(), z.unknown()),
  })
  .superRefine(({ id, tenant, parent }, context) => {
    const tag = tenantTag(tenant);
    for (const [path, named] of [
      ['id', id],
      ['parent', parent?.id],
    ] as const) {
      if (named === undefined || tagOfId(named) === tag) continue;
      const message = `${named} does not carry the tag ${tag} of tenant ${tenant}`;
      context.addIssue({ code: 'custom', path: [path], message });
    }
  });

export type GenerationJob = z.infer<typeof generationJobSchema>;
