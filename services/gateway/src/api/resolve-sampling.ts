import { RequestError } from '@baton/errors';
import type { GrammarSource, Sampling } from '@baton/protocol';
import type { ServedModel } from '../served-model.ts';
import type { SamplingFields } from './fields.ts';

/** What an endpoint asks for in its own words. */
export interface SamplingRequest {
  /** Output tokens at most, and the field that said so. */
  readonly maxTokens: { readonly value: number; readonly param: string } | null;
  /** Output tokens at most where the request does not say, and as the context has room for them. */
  readonly defaultMaxTokens: number;
  /** Where the prompt is in the request, for errors. */
  readonly promptParam: string;
  readonly logprobs: number | null;
  readonly promptLogprobs: number | null;
  readonly defaultSeed: number;
  /** What the output has to be. */
  readonly grammar: GrammarSource | null;
}

/**
 * Fills in every default (the model's own recommendation where it makes one), so that each worker samples the same.
 * Throws `RequestError` for what this model cannot run.
 */
export function resolveSampling(
  fields: SamplingFields,
  request: SamplingRequest,
  prompt: readonly number[],
  model: ServedModel,
): Sampling {
  const maxTokens = outputLimit(request, prompt.length, model);
  const minTokens = fields.min_tokens ?? 0;
  if (minTokens > maxTokens) {
    throw new RequestError(
      'invalid_value',
      `'min_tokens': ${minTokens} is more than the ${maxTokens} tokens that there may be`,
      'min_tokens',
    );
  }
  if (request.grammar && fields.ignore_eos) {
    throw new RequestError(
      'unsupported_value',
      "'ignore_eos': true is not supported with structured output, which ends where its JSON does",
      'ignore_eos',
    );
  }
  const logitBias = fields.logit_bias ?? {};
  for (const token of Object.keys(logitBias)) {
    if (Number(token) >= model.vocabularySize) {
      const param = `logit_bias.${token}`;
      throw new RequestError(
        'invalid_value',
        `'${param}': token ids end at ${model.vocabularySize - 1}`,
        param,
      );
    }
  }
  const defaults = model.samplingDefaults;
  const topP = fields.top_p ?? defaults.top_p;
  return {
    temperature: fields.temperature ?? defaults.temperature,
    // top_p 0 keeps the most likely token only.
    top_k: topP === 0 ? 1 : (fields.top_k ?? defaults.top_k),
    top_p: topP === 0 ? 1 : topP,
    min_p: fields.min_p ?? defaults.min_p,
    presence_penalty: fields.presence_penalty ?? 0,
    frequency_penalty: fields.frequency_penalty ?? 0,
    repetition_penalty: fields.repetition_penalty ?? defaults.repetition_penalty,
    logit_bias: logitBias,
    // Drawn here and not by the worker, so that the next owner of the generation samples on with the same one.
    seed: fields.seed ?? request.defaultSeed,
    max_tokens: maxTokens,
    min_tokens: minTokens,
    stop: typeof fields.stop === 'string' ? [fields.stop] : (fields.stop ?? []),
    ignore_eos: fields.ignore_eos ?? false,
    grammar: request.grammar,
    logprobs: request.logprobs,
    prompt_logprobs: request.promptLogprobs,
  };
}

/** Each choice of a request draws its own numbers. */
export function choiceSeed(seed: number, choice: number): number {
  return seed > Number.MAX_SAFE_INTEGER - choice ? seed - choice : seed + choice;
}

function outputLimit(request: SamplingRequest, promptTokens: number, model: ServedModel): number {
  const room = model.contextLength - promptTokens;
  const limit = request.maxTokens?.value ?? Math.max(1, Math.min(room, request.defaultMaxTokens));
  if (limit <= room) return limit;
  const asked = request.maxTokens
    ? `${promptTokens} in the prompt and ${limit} in ${request.maxTokens.param}`
    : `${promptTokens} in the prompt and at least one of output`;
  throw new RequestError(
    'context_length_exceeded',
    `this model's context holds ${model.contextLength} tokens, but the request needs ${promptTokens + limit}: ${asked}`,
    room > 0 && request.maxTokens ? request.maxTokens.param : request.promptParam,
  );
}
