import { z } from 'zod';

const jsonSchema = z.union([z.boolean(), z.record(z.string(), z.unknown())]);
const jsonGrammars = [
  z.strictObject({ type: z.literal('json_object') }),
  z.strictObject({ type: z.literal('json_schema'), schema: jsonSchema }),
] as const;
const jsonGrammarSchema = z.discriminatedUnion('type', [...jsonGrammars]);
/** Any JSON object, or JSON that fits a schema. */
export type JsonGrammar = z.infer<typeof jsonGrammarSchema>;

const toolCallsGrammarSchema = z.strictObject({
  type: z.literal('tool_calls'),
  /** The tags around each call. */
  open: z.string().min(1),
  close: z.string().min(1),
  /** What may be called; arguments fit `parameters`. */
  functions: z.array(z.strictObject({ name: z.string().min(1), parameters: jsonSchema })).min(1),
  /** Whether there may be more than one call. */
  parallel: z.boolean(),
  /** Text that may stand before, between and after calls, or JSON that may stand instead; null where there has to be a call. */
  otherwise: z.union([z.literal('text'), jsonGrammarSchema]).nullable(),
});
/** Calls of functions, in the form in which a chat template has them written. */
export type ToolCallsGrammar = z.infer<typeof toolCallsGrammarSchema>;

/** What the output has to be. */
export const grammarSourceSchema = z.discriminatedUnion('type', [...jsonGrammars, toolCallsGrammarSchema]);
export type GrammarSource = z.infer<typeof grammarSourceSchema>;

/**
 * How tokens are chosen, fully resolved: the gateway fills in every default (and draws the seed where the
 * client gave none), so that any worker, at any epoch, samples the same token at the same position.
 */
export const samplingSchema = z.strictObject({
  /** 0 means greedy: the highest logit, the lowest id on a tie. */
  temperature: z.number().min(0).max(2),
  /** 0 means no limit. */
  top_k: z.int().min(0),
  top_p: z.number().gt(0).max(1),
  min_p: z.number().min(0).max(1),
  presence_penalty: z.number().min(-2).max(2),
  frequency_penalty: z.number().min(-2).max(2),
  /** 1 means none; over prompt and output tokens (CTRL, arXiv 1909.05858). */
  repetition_penalty: z.number().gt(0).max(10),
  /** Token id (as a string, since JSON keys are) to a value added to its logit. */
  logit_bias: z.record(z.string().regex(/^\d+$/), z.number().min(-100).max(100)),
  seed: z.int(),
  /** At most this many output tokens. 0 only scores the prompt. */
  max_tokens: z.int().min(0),
  /** Before this many output tokens the end-of-sequence token is not sampled and stop strings do not stop. */
  min_tokens: z.int().min(0),
  stop: z.array(z.string().min(1)).max(16),
  ignore_eos: z.boolean(),
  /** Only tokens that go on to such a text are sampled; what has been said so far says which. */
  grammar: grammarSourceSchema.nullable().default(null),
  /** How many alternatives to report with each output token's log-probability; null reports none at all. */
  logprobs: z.int().min(0).max(20).nullable(),
  /** The same for each prompt token (completions with `echo`). */
  prompt_logprobs: z.int().min(0).max(20).nullable(),
});

export type Sampling = z.infer<typeof samplingSchema>;
