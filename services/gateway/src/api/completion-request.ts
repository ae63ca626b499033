import { z } from 'zod';
import {
  inertFields,
  modelField,
  optional,
  samplingFields,
  streamFields,
  supportedValues,
  topLogprobs,
} from './fields.ts';
import { responseFormat } from './output-format.ts';
import { refuse } from './parse-request.ts';

const text = z.string();
const tokens = z.array(z.int().min(0)).min(1);

/** One prompt or several, as text or as token ids; becomes a list. Token ids are run exactly as given. */
const prompt = z
  .union([
    text.transform((one) => [one]),
    tokens.transform((one) => [one]),
    z.array(text).min(1),
    z.array(tokens).min(1),
  ])
  .transform((prompts): (string | number[])[] => prompts);

/** Body of POST /v1/completions. */
export const completionRequest = z
  .strictObject({
    model: modelField,
    prompt,
    ...samplingFields,
    ...inertFields,
    ...streamFields,
    n: optional(z.int().min(1).max(128)),
    best_of: optional(z.int().min(1)),
    max_tokens: optional(z.int().min(0)),
    echo: optional(z.boolean()),
    logprobs: topLogprobs,
    /** Not in OpenAI's API, where only chat completions have it. */
    response_format: responseFormat,
    suffix: supportedValues(''),
  })
  .check((ctx) => {
    const { best_of, n, stream, stream_options } = ctx.value;
    if (best_of && best_of !== (n ?? 1)) {
      refuse(ctx, 'unsupported_value', 'is supported only when it equals n', ['best_of']);
    }
    if (stream_options && !stream)
      refuse(ctx, 'invalid_value', 'needs stream to be true', ['stream_options']);
  });

export type CompletionRequest = z.output<typeof completionRequest>;
