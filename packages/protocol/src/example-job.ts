import { tenantTag } from './ids.ts';
import type { GenerationJob } from './job.ts';
import type { Sampling } from './sampling.ts';

/** A response's id of that tenant, the same each time. */
export function exampleId(tenant = 'default', digit = '0'): string {
  return `resp_${tenantTag(tenant)}${digit.repeat(24)}`;
}

/** A valid job for tests: greedy, up to 16 tokens, over the given overrides. */
export function exampleJob(
  overrides: Omit<Partial<GenerationJob>, 'sampling'> & { sampling?: Partial<Sampling> } = {},
): GenerationJob {
  const { sampling, ...job } = overrides;
  return {
    v: 1,
    id: exampleId(overrides.tenant),
    tenant: 'default',
    endpoint: 'responses',
    model: 'hymba-tiny-stories',
    created_at: 1_700_000_000_000,
    prompt: [1, 5, 6],
    parent: null,
    continuable: true,
    echo: {},
    ...job,
    sampling: { ...greedySampling, ...sampling },
  };
}

const greedySampling: Sampling = {
  temperature: 0,
  top_k: 0,
  top_p: 1,
  min_p: 0,
  presence_penalty: 0,
  frequency_penalty: 0,
  repetition_penalty: 1,
  logit_bias: {},
  seed: 1,
  max_tokens: 16,
  min_tokens: 0,
  stop: [],
  ignore_eos: false,
  grammar: null,
  logprobs: null,
  prompt_logprobs: null,
};
