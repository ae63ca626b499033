import { isDeepStrictEqual } from 'node:util';
import { z } from 'zod';
import { refuse } from './parse-request.ts';

/** `null` means the same as leaving the field out, everywhere in the OpenAI API. */
export const optional = <S extends z.ZodType>(schema: S) => schema.nullish();

/** A field Baton knows but does nothing for: only the values that ask for nothing are accepted. */
export function unsupportedParameter(...noOps: unknown[]) {
  return onlyNoOps('unsupported_parameter', 'this parameter is not supported', noOps);
}

/** A field of which Baton supports these values only. */
export function supportedValues(...values: unknown[]) {
  const listed = values.map((value) => JSON.stringify(value)).join(', ');
  return onlyNoOps('unsupported_value', `this value is not supported; supported: ${listed}`, values);
}

function onlyNoOps(
  code: 'unsupported_parameter' | 'unsupported_value',
  message: string,
  accepted: readonly unknown[],
) {
  return z
    .unknown()
    .check((ctx) => {
      const { value } = ctx;
      if (value === undefined || value === null) return;
      if (!accepted.some((other) => isDeepStrictEqual(value, other))) refuse(ctx, code, message);
    })
    .optional()
    .meta({ enum: [...accepted, null] });
}

/** How tokens are chosen, the same on every endpoint. The second half is Baton's extension of the OpenAI API. */
export const samplingFields = {
  temperature: optional(z.number().min(0).max(2)),
  top_p: optional(z.number().min(0).max(1)),
  presence_penalty: optional(z.number().min(-2).max(2)),
  frequency_penalty: optional(z.number().min(-2).max(2)),
  logit_bias: optional(
    z.record(z.string().regex(/^\d+$/, 'keys must be token ids'), z.number().min(-100).max(100)),
  ),
  seed: optional(z.int()),
  stop: optional(z.union([z.string().min(1), z.array(z.string().min(1)).max(16)])),

  top_k: optional(z.int().min(0)),
  min_p: optional(z.number().min(0).max(1)),
  repetition_penalty: optional(z.number().gt(0).max(10)),
  min_tokens: optional(z.int().min(0)),
  ignore_eos: optional(z.boolean()),
};

export type SamplingFields = z.output<z.ZodObject<typeof samplingFields>>;

export const metadata = optional(
  z
    .record(z.string().max(64), z.string().max(512))
    .refine((pairs) => Object.keys(pairs).length <= 16, 'at most 16 pairs'),
);

/** What can be asked to be included; only log-probabilities exist without built-in tools, images and reasoning. */
export const includable = optional(
  z.array(
    z.enum([
      'code_interpreter_call.outputs',
      'computer_call_output.output.image_url',
      'file_search_call.results',
      'message.input_image.image_url',
      'message.output_text.logprobs',
      'reasoning.encrypted_content',
      'web_search_call.action.sources',
      'web_search_call.results',
    ]),
  ),
);

/** Fields that label a request, or ask for what Baton does anyway. */
export const inertFields = {
  metadata,
  user: optional(z.string()),
  safety_identifier: optional(z.string()),
  prompt_cache_key: optional(z.string()),
  prompt_cache_options: unsupportedParameter({}),
  prompt_cache_retention: supportedValues('in_memory'),
  service_tier: supportedValues('auto', 'default'),
  moderation: unsupportedParameter(),
  /** False: there is one call at most. */
  parallel_tool_calls: optional(z.boolean()),
};

export const streamFields = {
  stream: optional(z.boolean()),
  stream_options: optional(
    z.strictObject({
      include_usage: optional(z.boolean()),
      /** Padding against eavesdroppers who count bytes; there is none. */
      include_obfuscation: optional(z.boolean()),
    }),
  ),
};

/** Alternatives to report for each token. */
export const topLogprobs = optional(z.int().min(0).max(20));
export const modelField = z.string().min(1);
