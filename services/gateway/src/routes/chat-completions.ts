import { choiceGenerationId, type GenerationJob } from '@baton/protocol';
import { withSpan } from '@baton/telemetry';
import type { FastifyInstance } from 'fastify';
import { type ChatRequest, type ChatRequestMessage, chatRequest } from '../api/chat-request.ts';
import { templateRole } from '../api/content.ts';
import { grammarOf } from '../api/output-format.ts';
import { parseRequest } from '../api/parse-request.ts';
import { choiceSeed, resolveSampling } from '../api/resolve-sampling.ts';
import type { Gateway, TenantGateway } from '../gateway.ts';
import { finish } from '../generation/follow.ts';
import { leave } from '../generation/leave.ts';
import { callingMessage, requireToolCalls, resultMessage, type TurnMessage } from '../generation/messages.ts';
import { type Origin, originOf } from '../generation/origin.ts';
import { chatPrompt, requireModel } from '../generation/prompt.ts';
import { sharedPrefix } from '../generation/shared-prefix.ts';
import { startAll } from '../generation/submit.ts';
import { toolUse } from '../generation/tool-use.ts';
import { type ChatEcho, chatChunks, chatCompletion, chatUsageChunk } from '../render/chat.ts';
import type { CompletionHead } from '../render/completion-head.ts';
import type { ServedModel } from '../served-model.ts';
import { clientSignal, sendFrames, takeStreamPlace } from '../sse.ts';
import { completionFrames } from './completion-frames.ts';
import { traced } from './traced.ts';

export function chatCompletionRoutes(app: FastifyInstance, gateway: Gateway): void {
  const { model, settings, stopping } = gateway;
  const names = model.tokenizer;

  app.post(
    '/v1/chat/completions',
    traced(gateway, async (request, reply, gateway) => {
      const { body, origin, head, jobs } = await withSpan('validate', {}, async () => {
        const body = parseRequest(chatRequest, request.body);
        const origin = await originOf(gateway, request, 'chatcmpl');
        return { body, origin, ...(await chatJobs(body, origin, gateway)) };
      });
      const signal = clientSignal(reply, stopping);
      if (body.stream) takeStreamPlace(gateway, reply);
      const generations = await startAll(gateway, jobs, origin);
      try {
        return await withSpan('deliver', {}, async () => {
          if (!body.stream) {
            const states = await Promise.all(generations.map((one) => finish(gateway, one, signal)));
            return chatCompletion(head, states, names);
          }
          const includeUsage = body.stream_options?.include_usage ?? false;
          const folds = jobs.map((_, index) => chatChunks(head, index, names, includeUsage));
          const usage = () =>
            chatUsageChunk(
              head,
              generations.map(({ feed }) => feed.state),
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

/** One job for each choice. Throws `RequestError` or `NotFoundError` for what cannot be run. */
async function chatJobs(
  body: ChatRequest,
  { id, created_at, seed }: Origin,
  gateway: TenantGateway,
): Promise<{ head: CompletionHead; jobs: GenerationJob[] }> {
  const { model, tenant } = gateway;
  requireModel(body.model, model);
  const schemaParam = 'response_format.json_schema.schema';
  const { tools, rules, grammar } = await toolUse(
    {
      tools: body.tools,
      choice: body.tool_choice,
      parallel: body.parallel_tool_calls,
      format: grammarOf(body.response_format, schemaParam),
    },
    { formatSchema: schemaParam, parameters: (i) => `tools[${i}].function.parameters` },
    gateway,
  );
  const messages = body.messages.map((message, i) => chatMessage(message, model, `messages[${i}]`));
  const prompt = await chatPrompt(gateway, messages, tools, 'messages');
  const shared = await sharedPrefix(gateway, prompt, messages, tools);
  const echo: ChatEcho = { tool_calls: rules };
  const maxTokens = body.max_completion_tokens ?? body.max_tokens;
  const sampling = resolveSampling(
    body,
    {
      maxTokens:
        maxTokens == null
          ? null
          : {
              value: maxTokens,
              param: body.max_completion_tokens == null ? 'max_tokens' : 'max_completion_tokens',
            },
      defaultMaxTokens: model.contextLength,
      promptParam: 'messages',
      logprobs: body.logprobs ? (body.top_logprobs ?? 0) : null,
      promptLogprobs: null,
      defaultSeed: seed,
      grammar,
    },
    prompt,
    model,
  );
  const jobs = Array.from(
    { length: body.n ?? 1 },
    (_, index): GenerationJob => ({
      v: 1,
      id: choiceGenerationId(id, index),
      tenant,
      endpoint: 'chat.completions',
      model: model.name,
      created_at,
      prompt,
      parent: null,
      ...shared,
      continuable: false,
      // Every choice draws its own numbers.
      sampling: { ...sampling, seed: choiceSeed(sampling.seed, index) },
      echo,
    }),
  );
  return { head: { id, created: Math.floor(created_at / 1000), model: model.name }, jobs };
}

function chatMessage(message: ChatRequestMessage, model: ServedModel, param: string): TurnMessage {
  const named = message.name ? { name: message.name } : {};
  if (message.role === 'tool') {
    requireToolCalls(model, `${param}.role`);
    return { ...resultMessage(message.tool_call_id, message.content), ...named };
  }
  if (message.role === 'assistant' && message.tool_calls?.length) {
    const format = requireToolCalls(model, `${param}.tool_calls`);
    return { ...callingMessage(message.content ?? '', message.tool_calls, format), ...named };
  }
  return { role: templateRole(message.role), content: message.content ?? '', ...named };
}
