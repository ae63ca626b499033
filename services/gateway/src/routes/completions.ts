import { RequestError } from '@baton/errors';
import { choiceGenerationId, type GenerationJob } from '@baton/protocol';
import { withSpan } from '@baton/telemetry';
import type { FastifyInstance } from 'fastify';
import { type CompletionRequest, completionRequest } from '../api/completion-request.ts';
import { grammarOf } from '../api/output-format.ts';
import { parseRequest } from '../api/parse-request.ts';
import { choiceSeed, resolveSampling } from '../api/resolve-sampling.ts';
import type { Gateway, TenantGateway } from '../gateway.ts';
import { finish } from '../generation/follow.ts';
import { leave } from '../generation/leave.ts';
import { type Origin, originOf } from '../generation/origin.ts';
import { plainPrompts, requireModel } from '../generation/prompt.ts';
import { startAll } from '../generation/submit.ts';
import type { CompletionHead } from '../render/completion-head.ts';
import {
  type CompletionEcho,
  completion,
  completionChunks,
  completionUsageChunk,
} from '../render/completions.ts';
import type { ServedModel } from '../served-model.ts';
import { clientSignal, sendFrames, takeStreamPlace } from '../sse.ts';
import { completionFrames } from './completion-frames.ts';
import { traced } from './traced.ts';

/** The OpenAI API's own default. */
const defaultMaxTokens = 16;
/** Prompts times choices of one request. */
const maxChoices = 1024;

export function completionRoutes(app: FastifyInstance, gateway: Gateway): void {
  const { model, settings, stopping } = gateway;
  const names = model.tokenizer;

  app.post(
    '/v1/completions',
    traced(gateway, async (request, reply, gateway) => {
      const { body, origin, head, jobs } = await withSpan('validate', {}, async () => {
        const body = parseRequest(completionRequest, request.body);
        const origin = await originOf(gateway, request, 'cmpl');
        return { body, origin, ...(await completionJobs(body, origin, gateway)) };
      });
      const choicesPerPrompt = body.n ?? 1;
      const signal = clientSignal(reply, stopping);
      if (body.stream) takeStreamPlace(gateway, reply);
      const generations = await startAll(gateway, jobs, origin);
      try {
        return await withSpan('deliver', {}, async () => {
          if (!body.stream) {
            const states = await Promise.all(generations.map((one) => finish(gateway, one, signal)));
            return completion(head, states, names, choicesPerPrompt);
          }
          const includeUsage = body.stream_options?.include_usage ?? false;
          const folds = jobs.map((_, index) => completionChunks(head, index, names, includeUsage));
          const usage = () =>
            completionUsageChunk(
              head,
              generations.map(({ feed }) => feed.state),
              choicesPerPrompt,
            );
          const frames = completionFrames(gateway, generations, folds, includeUsage ? usage : null, signal);
          return sendFrames(reply, frames, { ...settings, signal });
        });
      } finally {
        leave(gateway, generations, signal);
      }
    }),
  );
}

/** One job for each choice of each prompt, prompt by prompt. Throws what a request that cannot be run gets. */
async function completionJobs(
  body: CompletionRequest,
  { id, created_at, seed }: Origin,
  gateway: TenantGateway,
): Promise<{ head: CompletionHead; jobs: GenerationJob[] }> {
  const { model, tenant, grammars } = gateway;
  requireModel(body.model, model);
  const choices = body.n ?? 1;
  if (body.prompt.length * choices > maxChoices) {
    throw new RequestError(
      'invalid_value',
      `${body.prompt.length} prompts of ${choices} choices each are more than ${maxChoices} in one request`,
      'prompt',
    );
  }
  const schemaParam = 'response_format.json_schema.schema';
  const grammar = grammarOf(body.response_format, schemaParam);
  if (grammar) await grammars.check(tenant, grammar, schemaParam);
  const given = body.prompt.map((prompt, p) => ({
    prompt,
    param: body.prompt.length === 1 ? 'prompt' : `prompt[${p}]`,
  }));
  const prompts = await plainPrompts(gateway, given);
  const jobs = given.flatMap(({ prompt: asked, param }, p) => {
    const prompt = prompts[p] ?? [];
    const sampling = resolveSampling(
      body,
      {
        maxTokens: body.max_tokens == null ? null : { value: body.max_tokens, param: 'max_tokens' },
        defaultMaxTokens,
        promptParam: param,
        logprobs: body.logprobs ?? null,
        promptLogprobs: body.echo ? (body.logprobs ?? null) : null,
        defaultSeed: seed,
        grammar,
      },
      prompt,
      model,
    );
    const echo: CompletionEcho = { prompt_text: body.echo ? promptText(asked, model) : '' };
    return Array.from(
      { length: choices },
      (_, choice): GenerationJob => ({
        v: 1,
        id: choiceGenerationId(id, p * choices + choice),
        tenant,
        endpoint: 'completions',
        model: model.name,
        created_at,
        prompt,
        parent: null,
        continuable: false,
        // Every choice draws its own numbers, and a prompt the same ones in whatever company it comes.
        sampling: { ...sampling, seed: choiceSeed(sampling.seed, choice) },
        echo,
      }),
    );
  });
  return { head: { id, created: Math.floor(created_at / 1000), model: model.name }, jobs };
}

function promptText(prompt: string | readonly number[], model: ServedModel): string {
  return typeof prompt === 'string' ? prompt : model.tokenizer.decode(prompt, { skipSpecialTokens: false });
}
